import math

import pytest
import torch

from kd_core.losses import SelectiveTargetLoss, SoftTargetLoss
from kd_core.schedules import StepDecay

# Teacher (3/4, 1/4), student (1/2, 1/2).
TEACHER = torch.tensor([[math.log(3), 0.0]])
DIVERGENCE = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)


@pytest.mark.parametrize("label, squared", [(0, 4), (1, 1)])
def test_value_worked_out_by_hand(label, squared):
    value = SelectiveTargetLoss()(torch.zeros(1, 2), TEACHER, torch.tensor([label]))
    assert value.item() == pytest.approx(squared * DIVERGENCE, rel=1e-5)


def test_temperature_divides_both_and_its_square_comes_back():
    student = torch.tensor([[math.log(2), 0.0]])  # (2/3, 1/3)
    value = SelectiveTargetLoss(3.0)(3 * student, 3 * TEACHER, torch.tensor([1]))
    divergence = 0.75 * math.log(9 / 8) + 0.25 * math.log(3 / 4)
    assert value.item() == pytest.approx(9 * divergence, rel=1e-5)


@pytest.mark.parametrize("epoch, passed", [(0, 0), (45, 1), (90, 3)])
def test_authors_code(agrees_with_reference, epoch, passed):
    # https://github.com/gjplab/CCSKD, losses/kd_loss.py, KDLossv2,
    # commit be59d62c2424a0463b74df6462d79cc2f58bb003: m falls by 0.9 every 30 epochs. The value
    # is not compared, for the code's is not 0 at equality.
    decay = StepDecay(at=range(30, 200, 30), factor=0.81)(epoch)
    assert decay == pytest.approx(0.9 ** (2 * passed))
    loss = SelectiveTargetLoss(loss_weight=decay)
    agrees_with_reference(f"ccskd_selective_epoch{epoch}", loss, gradient_only=True)


def test_a_teacher_that_is_always_wrong_leaves_soft_targets():
    student, teacher = torch.randn(4, 6), torch.randn(4, 6)
    value = SelectiveTargetLoss()(student, teacher, teacher.argmin(dim=1))
    assert value.item() == pytest.approx(SoftTargetLoss(1.0)(student, teacher).item(), rel=1e-4)


def test_offset_of_the_logits_does_not_matter():
    student, teacher, labels = torch.randn(4, 6), torch.randn(4, 6), torch.tensor([0, 1, 2, 3])
    loss = SelectiveTargetLoss()
    assert loss(student + 5, teacher - 3, labels).item() == pytest.approx(
        loss(student, teacher, labels).item(), rel=1e-4
    )


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="below 6, but they go from 1 to 6"):
        SelectiveTargetLoss()(torch.randn(2, 6), torch.randn(2, 6), torch.tensor([1, 6]))


def test_bad_temperature_is_refused():
    with pytest.raises(ValueError, match="temperature must be above 0, but it is -1"):
        SelectiveTargetLoss(temperature=-1)
