import pytest
import torch

from kd_core.losses import EmbeddingCosineLoss, FeatureImitationLoss


def test_value_worked_out_by_hand():
    student = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    teacher = torch.tensor([[0.0, 2.0], [3.0, 3.0]])
    assert EmbeddingCosineLoss()(student, teacher).item() == pytest.approx(0.5)


def test_of_unit_vectors_it_is_half_the_squared_distance():
    student, teacher = (torch.nn.functional.normalize(torch.randn(6, 8), dim=1) for _ in "ab")
    imitation = FeatureImitationLoss()(student, teacher).item()
    assert EmbeddingCosineLoss()(student, teacher).item() == pytest.approx(4 * imitation, rel=1e-5)


def test_scale_does_not_matter_but_rotation_does():
    student, teacher = torch.randn(6, 4), torch.randn(6, 4)
    loss = EmbeddingCosineLoss()
    assert loss(5 * student, teacher).item() == pytest.approx(loss(student, teacher).item())
    rotation, _ = torch.linalg.qr(torch.randn(4, 4))
    assert loss(teacher @ rotation, teacher).item() > 0.1


def test_a_zero_vector_gets_no_gradient():
    student = torch.randn(3, 4)
    student[1] = 0
    student.requires_grad_()
    value = EmbeddingCosineLoss()(student, torch.randn(3, 4))
    value.backward()
    assert torch.isfinite(student.grad).all() and student.grad[1].abs().sum() == 0


def test_a_zero_vector_is_at_a_right_angle_to_all():
    value = EmbeddingCosineLoss()(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
    assert value.item() == 1


def test_unequal_sizes_are_refused():
    sides = r"student is \(2, 4\) and teacher is \(2, 5\)"
    with pytest.raises(ValueError, match=f"same number of channels.*{sides}.*connector"):
        EmbeddingCosineLoss()(torch.randn(2, 4), torch.randn(2, 5))
