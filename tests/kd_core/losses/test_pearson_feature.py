import pytest
import torch

from kd_core.losses import PearsonFeatureLoss


def test_value_worked_out_by_hand():
    # Std of n - 1 is sqrt(2): (1, -1) / sqrt(2) against its negative, squares 2, halved.
    student = torch.tensor([1.0, -1.0]).reshape(1, 1, 1, 2)
    assert PearsonFeatureLoss()(student, -student).item() == pytest.approx(1.0, rel=1e-5)


def test_a_channel_of_little_spread_is_damped():
    # Std 1e-6, as much as is added to it: z is half of (1, -1) / sqrt(2), and of its negative.
    student = torch.tensor([1.0, -1.0]).reshape(1, 1, 1, 2) * 1e-6 / 2**0.5
    assert PearsonFeatureLoss()(student, -student).item() == pytest.approx(0.25, rel=1e-5)


def test_authors_code(agrees_with_reference):
    # https://github.com/open-mmlab/mmrazor, mmrazor/models/losses/pkd_loss.py,
    # commit 90c7af1fdf35a606a2fceaaeb4b6be2f0dac4eb7.
    agrees_with_reference("pearson_feature", PearsonFeatureLoss())


def test_scale_and_offset_of_each_channel_do_not_matter():
    student, teacher = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    loss = PearsonFeatureLoss()
    moved = student * torch.tensor([1.0, 5.0, 0.1, 3.0]).reshape(4, 1, 1) + torch.randn(4, 1, 1)
    assert loss(moved, teacher).item() == pytest.approx(loss(student, teacher).item(), rel=1e-4)


def test_one_value_in_each_channel_is_finite():
    student = torch.randn(1, 4, 1, 1, requires_grad=True)
    value = PearsonFeatureLoss()(student, torch.randn(1, 4, 1, 1))
    value.backward()
    assert value.item() == 0 and torch.isfinite(student.grad).all()
