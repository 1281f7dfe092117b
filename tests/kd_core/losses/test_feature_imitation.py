import pytest
import torch

from kd_core.losses import FeatureImitationLoss


def test_value_and_gradient_worked_out_by_hand():
    # Differences -2 and 0: mean square 2, slope 2 * difference / 2 entries.
    student = torch.tensor([1.0, 5.0]).reshape(1, 2, 1, 1).requires_grad_()
    teacher = torch.tensor([3.0, 5.0]).reshape(1, 2, 1, 1)
    value = FeatureImitationLoss()(student, teacher)
    value.backward()
    assert value.item() == pytest.approx(2.0)
    assert student.grad.flatten().tolist() == pytest.approx([-2.0, 0.0])


def test_common_offset_does_not_matter():
    student, teacher = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    loss = FeatureImitationLoss()
    assert loss(student + 2, teacher + 2).item() == pytest.approx(
        loss(student, teacher).item(), rel=1e-4
    )


def test_larger_map_is_pooled_to_the_smaller():
    student, teacher = torch.randn(2, 4, 4, 4), torch.randn(2, 4, 8, 8)
    pooled = torch.nn.functional.avg_pool2d(teacher, 2)
    loss = FeatureImitationLoss()
    assert loss(student, teacher).item() == pytest.approx(loss(student, pooled).item(), rel=1e-5)


def test_a_map_against_a_vector_is_refused():
    with pytest.raises(ValueError, match=r"teacher must be a feature map.*\(2, 4\)"):
        FeatureImitationLoss()(torch.randn(2, 4, 3, 3), torch.randn(2, 4))
