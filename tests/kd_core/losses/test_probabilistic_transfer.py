import pytest
import torch

from kd_core.losses import ProbabilisticTransferLoss


def test_authors_code(agrees_with_reference):
    # https://github.com/HobbitLong/RepDistiller, distiller_zoo/PKT.py,
    # commit b84f547c5db6a35318d4671d7d5c4de74c822403.
    agrees_with_reference(
        "probabilistic_knowledge_transfer", ProbabilisticTransferLoss(loss_weight=1.0)
    )


def test_value_worked_out_by_hand():
    # Student rows (1, 0.5) / 1.5, teacher rows (1, 1) / 2; divergence log(9 / 8) / 2 a row.
    student, teacher = torch.eye(2), torch.ones(2, 3)
    expected = 0.5 * torch.log(torch.tensor(9 / 8)) / 2
    found = ProbabilisticTransferLoss(loss_weight=1.0)(student, teacher)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


def test_rotation_and_scale_do_not_matter():
    student, teacher = torch.randn(6, 4), torch.randn(6, 5)
    rotation, _ = torch.linalg.qr(torch.randn(4, 4))
    loss = ProbabilisticTransferLoss()
    assert loss(3 * student @ rotation, teacher).item() == pytest.approx(
        loss(student, teacher).item(), rel=1e-3
    )


def test_one_zero_vector_keeps_the_gradient_finite():
    student = torch.randn(4, 3)
    student[1] = 0
    student.requires_grad_()
    ProbabilisticTransferLoss()(student, torch.randn(4, 5)).backward()
    assert torch.isfinite(student.grad).all()
