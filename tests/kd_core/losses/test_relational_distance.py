import pytest
import torch

from kd_core.losses import RelationalDistanceLoss


def test_value_worked_out_by_hand():
    # Distances 1, 3, 2 have mean 2: 0.5, 1.5, 1 against 1, 1, 1. Two pairs differ by 0.5, each
    # counted twice: 4 * 0.5^2 / 2 over 9 entries.
    student = torch.tensor([[0.0], [1.0], [3.0]])
    assert RelationalDistanceLoss()(student, torch.eye(3)).item() == pytest.approx(0.5 / 9)


def test_authors_code(agrees_with_reference):
    # https://github.com/lenscloth/RKD, metric/loss.py,
    # commit 0a6c3c0c190722d428322bf71703c0ae86c25242.
    agrees_with_reference("relational_distance", RelationalDistanceLoss())


def test_rotation_translation_and_scale_do_not_matter():
    student, teacher = torch.randn(6, 4), torch.randn(6, 5)
    rotation, _ = torch.linalg.qr(torch.randn(4, 4))
    moved = 3 * student @ rotation + torch.randn(4)
    loss = RelationalDistanceLoss()
    assert loss(moved, teacher).item() == pytest.approx(loss(student, teacher).item(), rel=1e-4)


def test_order_of_the_batch_does_not_matter():
    student, teacher = torch.randn(6, 4), torch.randn(6, 5)
    order = torch.tensor([3, 0, 4, 5, 1, 2])
    loss = RelationalDistanceLoss()
    assert loss(student[order], teacher[order]).item() == pytest.approx(
        loss(student, teacher).item(), rel=1e-4
    )


def test_batch_of_one_gives_zero():
    student = torch.randn(1, 4, requires_grad=True)
    value = RelationalDistanceLoss()(student, torch.randn(1, 5))
    value.backward()
    assert value.item() == 0 and torch.equal(student.grad, torch.zeros(1, 4))
