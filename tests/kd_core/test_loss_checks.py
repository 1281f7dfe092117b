"""Losses that are not finite stop a training, the student's and the terms' alike."""

import pytest
import torch
from torch import nn

from kd_core import Distiller, Term
from kd_core.loss_checks import FiniteCheck, merge_losses, total_loss
from kd_core.losses import AttentionTransferLoss

NAN, INF = float("nan"), float("inf")
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Student(nn.Module):
    """Returns losses as mmdet's detectors do: tensors, lists of them, and statistics."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.factors = 1.0, 1.0, 1.0

    def forward(self, images):
        feature = self.stem(images).square().mean()
        first, second, third = (factor * feature for factor in self.factors)
        return {
            "loss_cls": first,
            "loss_bbox": [second, third],
            "acc": torch.tensor(NAN),  # of a batch without boxes: a statistic may be
            "loss_note": "no tensor",
        }


def attach(weight=1.0, **options):
    student = Student()
    terms = {"at": Term(AttentionTransferLoss(), "stem", weight=weight)}
    return Distiller(Student(), terms, **options).attach(student)


@pytest.mark.parametrize("weight", [1.0, 0.0])
@pytest.mark.parametrize(
    "factors, named",
    [
        ((NAN, 1.0, 1.0), "loss_cls is nan"),
        ((1.0, 1.0, INF), "loss_bbox is inf"),
        ((NAN, INF, 1.0), "loss_cls is nan, loss_bbox is inf"),
    ],
)
def test_the_students_own_losses_are_looked_at_too(factors, named, weight):
    student = attach(weight)
    student(IMAGES)
    student.factors = factors
    rule = "every loss of the student's own must be finite"
    with pytest.raises(FloatingPointError, match=rf"{rule}, but at iteration 1 {named}\. Lower"):
        student(IMAGES)
    student.factors = 1.0, 1.0, 1.0
    assert torch.isfinite(student(IMAGES)["loss_cls"])  # nothing of the failed step is left


def test_the_check_can_be_turned_off():
    student = attach(check_finite=False)
    student.factors = NAN, 1.0, 1.0
    assert student(IMAGES)["loss_cls"].isnan()


def test_terms_and_own_losses_together_are_all_named():
    named = "term must be finite, but at iteration 3 loss_cls is inf, loss_at is nan"
    with pytest.raises(FloatingPointError, match=named):
        FiniteCheck().add({"loss_at": torch.tensor(NAN)}, 3, {"loss_cls": torch.tensor(INF)})


def test_a_loss_of_several_numbers_is_looked_at():
    own = {"loss_cls": [torch.tensor(1.0), torch.tensor([2.0, NAN])], "acc": torch.tensor(INF)}
    with pytest.raises(FloatingPointError, match="iteration 3 loss_cls is nan"):
        FiniteCheck().add({}, 3, own)
    own["loss_cls"] = [torch.tensor(1.0), torch.tensor([2.0, 3.0])]
    FiniteCheck().add({"loss_at": torch.tensor(1.0)}, 3, own)
    FiniteCheck().add({"loss_at": torch.tensor(1.0)}, 3)


def test_losses_in_half_precision_add_up_beyond_its_range():
    own = {"loss_cls": [torch.tensor(60000.0).half()] * 2}
    FiniteCheck().add({}, 3, own)
    assert total_loss(own) == {"task": torch.tensor(120000.0)}


def test_total_and_names():
    own = {"loss_a": [torch.tensor(1.0), torch.tensor([2.0, 4.0])], "acc": torch.tensor(9.0)}
    assert total_loss(own) == {"task": torch.tensor(4.0)}
    assert total_loss({"acc": torch.tensor(9.0)}) == {}
    with pytest.raises(ValueError, match=r"'t' would add \['loss_a'\] once more"):
        merge_losses({"t": {"loss_a": torch.tensor(1.0)}}, own)
