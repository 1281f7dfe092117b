import pytest
import torch
from torch import nn

import kdkit
from kd_core import AutoWeight, Normalization
from kd_core.losses import FeatureImitationLoss, SoftTargetLoss


def networks():
    return nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3)), nn.Sequential(nn.Linear(4, 3))


def test_a_term_and_its_short_form_give_the_same_loss():
    student, teacher = networks()
    inputs = torch.randn(5, 4)
    values = []
    for term in (kdkit.Term(SoftTargetLoss(), "1", "0"), (SoftTargetLoss(), "1", "0")):
        distiller = kdkit.distill(student, teacher, {"kd": term})
        assert student.distiller is distiller
        student(inputs)
        values.append(distiller.losses())
        distiller.detach()
    assert list(values[0]) == ["loss_kd"] and values[0] == values[1]
    assert values[0]["loss_kd"] > 0


def test_the_example_makes_connectors():
    student, teacher = nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Sequential(nn.Conv2d(3, 8, 3))
    terms = {"imitation": (FeatureImitationLoss(), "0")}
    distiller = kdkit.distill(student, teacher, terms, example=(torch.randn(2, 3, 8, 8),))
    assert any(name.startswith("distiller.connectors.") for name in student.state_dict())
    distiller.detach()
    assert list(student.state_dict()) == ["0.weight", "0.bias"]


def test_a_wrong_layer_is_named_at_once():
    student, teacher = networks()
    with pytest.raises(ValueError, match="7"):
        kdkit.distill(student, teacher, {"kd": (SoftTargetLoss(), "7")})
    assert not hasattr(student, "distiller")


def test_a_term_as_in_a_config():
    student, teacher = networks()
    term = dict(loss=FeatureImitationLoss(), layers="1", teacher_layers="0", normalize="unit")
    terms = {"a": term | dict(weight="auto", share=0.2), "b": term | dict(weight=2.0)}
    distiller = kdkit.distill(student, teacher, terms)
    made = distiller.terms
    assert made["a"].auto == AutoWeight(0.2) and made["b"].auto is None
    assert made["a"].normalize == made["b"].normalize == Normalization("unit")
    assert made["b"].weight == 2 and made["a"].teacher_layers[""][0].text == "0"


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (dict(loss=SoftTargetLoss(), layers="1", wieght=2), "term 'kd' must have .* has .*wieght"),
        (dict(loss=SoftTargetLoss()), "term 'kd' must have loss and layers"),
        (dict(loss=SoftTargetLoss(), layers="1", share=0.3), "a share belongs to weight='auto'"),
        (dict(loss=SoftTargetLoss(), layers="1", normalize="x"), "normalize must be one of"),
    ],
)
def test_a_wrong_dict_is_named(term, message):
    with pytest.raises(ValueError, match=message):
        kdkit.distill(*networks(), {"kd": term})
