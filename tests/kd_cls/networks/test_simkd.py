"""SimKD: agreement with the authors' code, and a student that keeps the teacher's classifier."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS
from torch import nn

from kd_cls.networks.simkd import SimKDNetwork
from kd_core.losses import FeatureImitationLoss

from ..toy_classifiers import TEACHER, batch

REFERENCE = Path(__file__).parents[2] / "kd_core" / "losses" / "reference"


# https://github.com/DefangChen/SimKD, models/util.py and helper/loops.py, commit
# 2b389c31ed7779aea31e7aaf0bb0f2d8b6ac2f01; factor 2, batch norms in training mode.
@pytest.mark.parametrize("name, side", [("simkd", 0), ("simkd_pooled", 3)])
def test_authors_code(name, side):
    with np.load(REFERENCE / f"{name}.npz") as arrays:
        found = {key: torch.tensor(arrays[key]) for key in arrays}
    network = SimKDNetwork(nn.Identity(), 5, 8, 6, head=(), options=dict(side=side))
    place = "param.transfer."
    state = {key[len(place) :]: value for key, value in found.items() if key.startswith(place)}
    network.projector.load_state_dict(state, strict=False)
    network.classifier.weight.data = found["teacher_classifier.weight"]
    network.classifier.bias.data = found["teacher_classifier.bias"]
    seen = {}
    network.projector.register_forward_hook(lambda m, a, out: seen.update(map=out))
    student = found["student"].requires_grad_()
    logits = network(student)
    torch.testing.assert_close(logits, found["student_logits"], rtol=1e-4, atol=1e-5)
    value = FeatureImitationLoss()(seen["map"], found["teacher"])
    value.backward()
    assert value.item() == pytest.approx(found["value"].item(), rel=1e-5)
    torch.testing.assert_close(student.grad, found["grad_student"], rtol=1e-3, atol=1e-6)
    expected = found["grad_param.transfer.0.weight"]
    torch.testing.assert_close(network.projector[0].weight.grad, expected, rtol=1e-3, atol=1e-6)


def student(**changes):
    network = dict(type="kd_cls.SimKDNetwork", network=dict(type="ToyNetwork"), channels=16,
                   num_features=24, num_classes=10)  # fmt: skip
    return dict(type="kd_cls.Classifier", network=network | changes, loss_weight=0.0)


def build(**changes):
    torch.manual_seed(0)
    loss = dict(type="kd_core.losses.FeatureImitationLoss")
    term = dict(loss=loss, layers="network.projector", teacher_layers="network.stage3")
    config = dict(type="kd_cls.DistilledClassifier", student=student(**changes),
                  teacher=dict(config=TEACHER, checkpoint=None), terms=dict(simkd=term),
                  inherit=["network.classifier"])  # fmt: skip
    return MODELS.build(ConfigDict(config))


def test_the_classifier_is_the_teachers_and_stays():
    model = build()
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1))
    before = model.network.trunk.stage1[0].weight.detach().clone()
    model.train()
    model.train_step(batch(), wrapper)
    teacher = model.distiller.teacher.model.network.classifier
    assert torch.equal(model.network.classifier.weight, teacher.weight)
    assert not torch.equal(model.network.trunk.stage1[0].weight, before)
    assert model.network.classifier.weight is not teacher.weight


def test_the_plain_student_has_projector_and_classifier():
    model = build()
    kept = {name for name in model.state_dict() if not name.startswith("distiller")}
    plain = MODELS.build(ConfigDict(student()))
    assert kept == set(plain.state_dict())
    assert "network.classifier.weight" in kept and "network.projector.0.weight" in kept


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(head=["fc"]), "head names the network's modules .* ToyNetwork has no 'fc'"),
        (dict(head=["classifier"]), r"must return a map .* but it returns \(2, 16\)"),
        (dict(options=dict(size=2)), "options are factor and side, but they are"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)
