"""Losses on class scores that a term standardizes first."""

import pytest
import torch

from kd_core import Normalization, Term
from kd_core.losses import DISTLoss, DKDLoss, HMATLoss, SelectiveTargetLoss, SoftTargetLoss
from kd_core.normalization import standardize_logits


def standardized(loss):
    """The loss as a term of it has it."""
    term = Term(loss, "logits", normalize=Normalization("logits"))

    def compare(student, teacher, *labels):
        extra = dict(zip(term.requires, labels, strict=False))
        return term.compare({"": student}, {"": teacher}, extra)[""]

    return compare


# https://github.com/sunshangquan/logit-standardization-KD, mdistiller/distillers/KD.py and DKD.py,
# commit f6e5aa5172bad618e801163c3385322eea673754; temperature 2, weight 1 | alpha 1, beta 8.
@pytest.mark.parametrize(
    "name, loss",
    [
        ("kd", SoftTargetLoss(temperature=2.0)),
        ("dkd", DKDLoss(target_weight=1.0, others_weight=8.0, temperature=2.0)),
    ],
)
def test_authors_code(agrees_with_reference, name, loss):
    agrees_with_reference(f"logit_standardized_{name}", standardized(loss))


@pytest.mark.parametrize("loss", [SoftTargetLoss(), DKDLoss(), SelectiveTargetLoss(), DISTLoss()])
def test_scale_and_offset_of_neither_side_count(loss):
    student, teacher, labels = torch.randn(4, 7), torch.randn(4, 7), torch.tensor([0, 3, 6, 3])
    expected = standardized(loss)(student, teacher, labels).item()
    moved = standardized(loss)(5 * student + 2, 0.1 * teacher - 7, labels).item()
    assert moved == pytest.approx(expected, rel=1e-3)


def test_the_gradient_sets_neither_offset_nor_scale():
    student = torch.randn(4, 7, requires_grad=True)
    standardized(SoftTargetLoss())(student, torch.randn(4, 7)).backward()
    assert student.grad.abs().max() > 1e-2
    zeros = torch.zeros(4)
    torch.testing.assert_close(student.grad.sum(1), zeros, atol=1e-5, rtol=0)
    torch.testing.assert_close((student.grad * student).sum(1), zeros, atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_logits_have_a_finite_gradient(value):
    student = torch.full((2, 5), value, requires_grad=True)
    found = standardized(SoftTargetLoss())(student, torch.randn(2, 5))
    found.backward()
    assert torch.isfinite(found) and student.grad.abs().max() < 1e4


def test_of_a_loss_with_roles_the_logits_alone():
    student, teacher = ({"low": torch.randn(2, 3, 4, 4), "logits": torch.randn(2, 7)} for _ in "st")
    term = Term(
        HMATLoss(1.0, 0.0, 0.0, 1.0),
        {"low": "a", "logits": "b"},
        normalize=Normalization("logits"),
    )
    found, plain = term.compare(student, teacher), term.loss(student, teacher)
    logits = (standardize_logits(side["logits"]) for side in (student, teacher))
    assert found["soft_target"].item() == pytest.approx(SoftTargetLoss()(*logits).item())
    assert torch.equal(found["position"], plain["position"])


def test_maps_are_refused():
    with pytest.raises(ValueError, match=r"takes class scores .* student is \(2, 3, 4, 4\)"):
        standardized(SoftTargetLoss())(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4))
