import pytest
import torch

from kd_core.losses import ChannelDistillationLoss


def test_value_worked_out_by_hand():
    # Means (1, 4) against (3, 4): squares 4 and 0.
    student = torch.tensor([[0.0, 2.0], [4.0, 4.0]]).reshape(1, 2, 1, 2)
    teacher = torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1)
    assert ChannelDistillationLoss()(student, teacher).item() == pytest.approx(2.0)


def test_authors_code(agrees_with_reference):
    # https://github.com/gjplab/CCSKD, losses/cd_loss.py,
    # commit be59d62c2424a0463b74df6462d79cc2f58bb003; one stage, identity connector.
    agrees_with_reference("ccskd_channel_distillation", ChannelDistillationLoss())


def test_order_of_positions_does_not_matter():
    student, teacher = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    loss = ChannelDistillationLoss()
    assert loss(student.flip(2), teacher).item() == pytest.approx(
        loss(student, teacher).item(), rel=1e-4
    )


def test_pooled_vectors_give_the_same():
    student, teacher = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 5, 5)
    loss = ChannelDistillationLoss()
    vectors = (student.mean((2, 3)), teacher.mean((2, 3)))
    assert loss(*vectors).item() == pytest.approx(loss(student, teacher).item(), rel=1e-4)
