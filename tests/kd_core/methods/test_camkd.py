"""CA-MKD: agreement with the authors' code, the weightings by hand, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kd_core.losses import SoftTargetLoss
from kd_core.methods import CAMKD, TeacherFeatures
from kd_core.methods.adapter import TaskAdapter
from kd_core.teacher import FrozenTeacher
from kd_core.teacher_shares import confidence_weights

from ...kd_cls.toy_classifiers import STUDENT, TEACHER
from .toy_methods import build, losses

REFERENCE = Path(__file__).parents[1] / "losses" / "reference"
TASK = TaskAdapter("logits")
LABELS = torch.tensor([0, 3, 4, 3, 1, 2])


class Given(nn.Module):
    """A network whose map and logits are given."""

    def __init__(self, feature, logits, classifier=None):
        super().__init__()
        self.given = feature, logits
        self.map, self.logits = nn.Identity(), nn.Identity()
        self.classifier = classifier
        self.runs = 0

    def forward(self, images):
        self.runs += 1
        self.map(self.given[0])
        return self.logits(self.given[1])


def reference(name):
    with np.load(REFERENCE / f"{name}.npz") as arrays:
        return {key: torch.tensor(arrays[key]) for key in arrays}


# https://github.com/Rorozhl/CA-MKD, commit c2f39a9f13c1998e9971815760364587222581ce; three
# teachers, alpha 1, beta 50, both divided by the number of teachers as in its loop.
@pytest.mark.parametrize("name, beta", [("camkd_logits", 0.0), ("camkd_total", 50.0)])
def test_authors_code(name, beta):
    found = reference(name)
    feature, logits = (found[key].requires_grad_() for key in ("student", "student_logits"))
    student, teachers = Given(feature, logits), {}
    for k in range(3):
        classifier = nn.Linear(*reversed(found[f"teacher_classifier_{k}.weight"].shape))
        state = {key: found[f"teacher_classifier_{k}.{key}"] for key in ("weight", "bias")}
        classifier.load_state_dict(state)
        given = Given(found[f"teacher_{k}"], found[f"teacher_logits_{k}"], classifier)
        teachers[f"t{k}"] = FrozenTeacher(given)
    layers = TeacherFeatures("map", classifiers="classifier")
    method = CAMKD(teachers, "confidence", (1 / 3, beta / 3, 4.0), layers, TASK)
    method.attach(student, example=[feature])
    for k in range(3) if beta else ():
        weights, place = method.embed[f"t{k}"], f"param.embed.embed{k}.transfer"
        weights.project.weight.data = found[f"{place}.0.weight"]
        weights.norm.weight.data = found[f"{place}.1.weight"]
        weights.norm.bias.data = found[f"{place}.1.bias"]
    student(feature)
    value = method.losses(labels=found["labels"])
    total = sum(one for key, one in value.items() if "loss" in key)
    if not beta:
        total = total - value["loss_ce"]
    assert total.item() == pytest.approx(found["value"].item(), rel=1e-4)
    total.backward()
    wanted = {"student_logits": logits} | ({"student": feature} if beta else {})
    for k in range(3) if beta else ():
        wanted[f"param.embed.embed{k}.transfer.0.weight"] = method.embed[f"t{k}"].project.weight
        wanted[f"param.embed.embed{k}.transfer.1.bias"] = method.embed[f"t{k}"].norm.bias
    for key, one in wanted.items():
        expected = found[f"grad_{key}"]
        limit = 1e-4 * expected.abs().max().item()
        torch.testing.assert_close(one.grad, expected, rtol=1e-4, atol=limit)


def made(count, weighting, **options):
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(6, 5, generator=generator) for _ in range(count + 1)]
    student = Given(torch.zeros(6, 2, 3, 3), logits[0].requires_grad_())
    others = {f"t{k}": Given(torch.zeros(6, 2, 3, 3), one) for k, one in enumerate(logits[1:])}
    frozen = {name: FrozenTeacher(one) for name, one in others.items()}
    method = CAMKD(frozen, weighting, adapter=TASK, **options)
    method.attach(student)
    for one in others.values():
        one.runs = 0
    student(torch.zeros(6, 3, 4, 4))
    return logits, method.losses(labels=LABELS), others


def by_hand(logits, weights):
    own = torch.log_softmax(logits[0] / 4, 1)
    total = 0
    for one, weight in zip(logits[1:], weights, strict=True):
        p = (one / 4).softmax(1)
        total = total + (weight * 16 * (p * (p.log() - own)).sum(1)).mean()
    return total


@pytest.mark.parametrize("weighting", ["confidence", "entropy", "mean", dict(t0=0.2, t1=1.3)])
def test_weightings_by_hand(weighting):
    logits, found, others = made(2, weighting)
    if isinstance(weighting, dict):
        weights = [torch.full((6,), 0.2), torch.full((6,), 1.3)]
    elif weighting == "mean":
        weights = [torch.full((6,), 0.5)] * 2
    else:
        p = [one.softmax(1) for one in logits[1:]]
        doubts = [-(one * one.log()).sum(1) for one in p]
        if weighting == "confidence":
            doubts = [F.cross_entropy(one, LABELS, reduction="none") for one in logits[1:]]
        weights = [1 - torch.stack(doubts).softmax(0)[k] for k in (0, 1)]
    torch.testing.assert_close(found["loss_responses"], by_hand(logits, weights))
    torch.testing.assert_close(found["weight_t0"], weights[0].mean())
    assert [one.runs for one in others.values()] == [1, 1]


@pytest.mark.parametrize("weighting", ["confidence", "entropy", "mean", dict(t0=1.0)])
def test_one_teacher_is_soft_targets(weighting):
    logits, found, _ = made(1, weighting)
    expected = SoftTargetLoss(4.0)(logits[0], logits[1])
    torch.testing.assert_close(found["loss_responses"], expected)


def test_a_teacher_of_weight_0_does_not_run():
    logits, found, others = made(2, dict(t0=0.0, t1=1.0))
    torch.testing.assert_close(found["loss_responses"], SoftTargetLoss(4.0)(logits[0], logits[2]))
    assert [one.runs for one in others.values()] == [0, 1]


def test_without_weights_there_is_the_students_own_loss_alone():
    _, found, others = made(2, "mean", strength=(0.0, 0.0, 4.0))
    assert list(found) == ["loss_ce"] and not any(one.runs for one in others.values())


def test_weights_sum_to_1():
    weights = confidence_weights(3 * torch.rand(4, 7))
    torch.testing.assert_close(weights.sum(0), torch.ones(7))


TRAINED = dict(config=TEACHER, checkpoint=None)
BOTH = dict(wide=TRAINED, same=dict(config=STUDENT, checkpoint=None))
FEW = dict(type="kd_cls.Classifier", network=dict(type="ToyNetwork", num_classes=7))


def test_by_config_with_teachers_of_different_width():
    options = dict(beta=5.0, layer="network.stage3", classifiers="network.classifier")
    model = build("CAMKD", student=STUDENT, teachers=BOTH, **options)
    found = losses(model)
    assert {"loss_ce", "loss_responses", "loss_features", "weight_wide"} <= set(found)
    sum(value for name, value in found.items() if "loss" in name).backward()
    sizes = {name: one.project.out_channels for name, one in model.distiller.embed.items()}
    assert sizes == {"wide": 24, "same": 16}
    assert all(p.grad is not None for p in model.parameters())
    frozen = [p for one in model.distiller.teachers.values() for p in one.model.parameters()]
    assert all(p.grad is None for p in frozen)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(teachers={}), "one or more teachers by name"),
        (dict(weighting="best"), "weighting must be one of .*, but it is 'best'"),
        (dict(weighting=dict(wide=1.0)), "weighting must name each teacher, wide, same"),
        (dict(weighting=dict(wide=1.0, same=-1.0)), "same must be finite and at least 0"),
        (dict(beta=1.0), "there must be a layer"),
        (dict(beta=1.0, layer="network.stage3", teacher_layers=dict(wide="network.stage3")),
         "teacher_layers must name each teacher, wide, same, but it names wide"),
        (dict(beta=1.0, layer="network.pool"), r"compares maps .* the student gives \(2, 16\)"),
        (dict(beta=1.0, layer="network.stage3", classifiers="network.clasifier"),
         "teacher 'wide' .* has no layer 'network.clasifier'"),
        (dict(teachers=dict(few=dict(config=FEW, checkpoint=None))), "same classes, .* few has 7"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build("CAMKD", **dict(student=STUDENT, teachers=BOTH) | options)
