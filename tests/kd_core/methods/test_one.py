"""ONE: agreement with the authors' code, the branches by config, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kd_core.methods import ONE
from kd_core.methods.adapter import TaskAdapter

from ...kd_cls.toy_classifiers import STUDENT
from .toy_methods import build, losses

REFERENCE = Path(__file__).parents[1] / "losses" / "reference"
BRANCH = ["network.stage3", "network.pool", "network.classifier"]


class Net(nn.Module):
    """A shared map, and a classifier of it."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Identity()
        self.rest = branch()

    def forward(self, images):
        return self.rest(self.shared(images))


def branch():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


# https://github.com/Lan1991Xu/ONE_NeurIPS2018, commit 54afde30fe039c8bd66668f0d17944b451b8b189:
# models/cifar/resnet.py, loss/kl_loss.py, cifar_one.py; temperature 3, ramp 1, with and without
# the cross-entropies.
@pytest.mark.parametrize("name", ["one_total", "one_ensemble"])
def test_authors_code(name):
    with np.load(REFERENCE / f"{name}.npz") as arrays:
        found = {key: torch.tensor(arrays[key]) for key in arrays}
    student, branches, shared = Net(), [branch(), branch()], found["student"].requires_grad_()
    ONE(branches, "shared", ramp=0.0, adapter=TaskAdapter("rest")).attach(student, example=[shared])
    method = student.distiller
    gate = dict(zip(("control_v1", "bn_v1"), method.gate, strict=False))
    learners = {f"classfier3_{k}": one[2] for k, one in enumerate([student.rest, *branches], 1)}
    for key, module in (gate | learners).items():
        module.weight.data, module.bias.data = (
            found[f"param.{key}.{of}"].clone() for of in ("weight", "bias")
        )
    student(shared)
    parts = method.losses(labels=found["labels"])
    value = parts["loss_ensemble"] if name == "one_ensemble" else sum(parts.values())
    value.backward()
    assert value.item() == pytest.approx(found["value"].item(), rel=1e-4)
    limit = dict(rtol=1e-3, atol=1e-4 * found["grad_student"].abs().max().item())
    torch.testing.assert_close(shared.grad, found["grad_student"], **limit)
    for key, module in learners.items():
        torch.testing.assert_close(module.weight.grad, found[f"grad_param.{key}.weight"], **limit)
    if name == "one_ensemble":  # the ensemble teaches, and does not learn from the divergences
        assert all(p.grad is None for p in method.gate.parameters())
    else:
        for key, module in gate.items():
            if f"grad_param.{key}.weight" in found:
                expected = found[f"grad_param.{key}.weight"]
                torch.testing.assert_close(module.weight.grad, expected, **limit)


def one(**options):
    given = dict(student=STUDENT, shared="network.stage2", branch=BRANCH)
    return build("ONE", **given | options)


def test_by_config_each_branch_has_weights_of_its_own():
    model = one()
    model.distiller.set_run_length(2, 8)
    found = losses(model)
    assert set(found) == {
        "loss_ce", "loss_branch1_ce", "loss_branch2_ce", "loss_ensemble_ce", "loss_ensemble"
    }  # fmt: skip
    sum(found.values()).backward()
    assert all(p.grad is not None for p in model.parameters())
    first = [model.network.stage3, *(branch[0] for branch in model.distiller.branches)]
    weights = [module[0].weight for module in first]
    assert not any(torch.equal(weights[i], weights[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_the_ramp():
    model = one(ramp=10.0)
    model.distiller.set_run_length(1, 20)
    values = [model.distiller.ramp(iteration, 10.0) for iteration in (0, 10, 15)]
    assert values == [pytest.approx(0.00673795), 1.0, 1.0]


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(branches=1), "branches must be at least 2, but it is 1"),
        (dict(branch=["network.stage4"]), "branch names modules of the student, but .*stage4"),
        (dict(branch=BRANCH[1:]), "a branch does not take the map of 'network.stage2'"),
        (dict(branch=BRANCH[:2]), r"a branch must give logits \(2, 10\) .* it gives \(2, 16\)"),
        (dict(shared="network.pool"), r"must give a map .* 'network.pool' gives \(2, 16\)"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        one(**options)
