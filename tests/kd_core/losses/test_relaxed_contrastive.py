import math

import pytest
import torch

from kd_core.losses import RelaxedContrastiveLoss


def test_authors_code(agrees_with_reference):
    # https://github.com/tjddus9597/LabelRelaxation-CVPR21, code/Relaxed_losses.py,
    # commit a10d77ac4fb047d633a56c1617ff762a96ab2947.
    agrees_with_reference("relaxed_contrastive", RelaxedContrastiveLoss())


def test_value_worked_out_by_hand():
    # Two samples at distance 3, mean of a row 1.5, so d = 2; the teacher's are at sqrt(2).
    student = torch.tensor([[0.0], [3.0]])
    weight = math.exp(-2 / 0.5)
    expected = weight * 4 + (1 - weight) * (2.5 - 2) ** 2
    loss = RelaxedContrastiveLoss(sigma=0.5, delta=2.5)
    assert loss(student, 7 * torch.eye(2)).item() == pytest.approx(expected, rel=1e-5)


def test_the_students_scale_does_not_matter_and_the_teachers_neither():
    student, teacher = torch.randn(6, 4), torch.randn(6, 5)
    loss = RelaxedContrastiveLoss()
    expected = loss(student, teacher).item()
    assert loss(5 * student, teacher).item() == pytest.approx(expected, rel=1e-4)
    assert loss(student, 5 * teacher).item() == pytest.approx(expected, rel=1e-4)


def test_what_the_teacher_finds_alike_is_pulled_together():
    teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    student = torch.randn(4, 3, requires_grad=True)
    optimizer = torch.optim.SGD([student], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        RelaxedContrastiveLoss()(student, teacher).backward()
        optimizer.step()
    apart = torch.cdist(student, student).detach()
    assert apart[0, 1] < 0.5 * apart[0, 2] and apart[2, 3] < 0.5 * apart[1, 3]


@pytest.mark.parametrize("options", [dict(sigma=0.0), dict(delta=-1.0)])
def test_numbers_out_of_range(options):
    with pytest.raises(ValueError, match="sigma must be above 0|delta must be above 0"):
        RelaxedContrastiveLoss(**options)
