import math

import pytest
import torch

from kd_core.losses import DKDLoss, SoftTargetLoss


def test_value_worked_out_by_hand():
    # Student (1/3, 1/3, 1/3), teacher (1/2, 3/8, 1/8), the label is the first class.
    teacher = torch.tensor([[4.0, 3.0, 1.0]]).log() * 2  # halved again by the temperature
    target = 0.5 * math.log(0.5 * 3) + 0.5 * math.log(0.5 * 1.5)
    others = 0.75 * math.log(0.75 * 2) + 0.25 * math.log(0.25 * 2)
    loss = DKDLoss(target_weight=2.0, others_weight=3.0, temperature=2.0)
    value = loss(torch.zeros(1, 3), teacher, torch.tensor([0]))
    assert value.item() == pytest.approx(4 * (2 * target + 3 * others), rel=1e-5)


def test_authors_code(agrees_with_reference):
    # https://github.com/megvii-research/mdistiller, mdistiller/distillers/DKD.py,
    # commit a08d46f10d6102bd6e3f258ca5ac880b020ea259; alpha 1, beta 8, temperature 4.
    agrees_with_reference("decoupled", DKDLoss())


def test_parts_add_up_to_soft_targets():
    # KL = target part + (1 - p_target) * part of the others, here of one sample.
    student, teacher, labels = torch.randn(1, 6), torch.randn(1, 6), torch.tensor([2])
    rest = 1 - torch.softmax(teacher / 4, dim=1)[0, 2].item()
    value = DKDLoss(target_weight=1.0, others_weight=rest)(student, teacher, labels)
    assert value.item() == pytest.approx(SoftTargetLoss(4.0)(student, teacher).item(), rel=1e-4)


def test_order_of_classes_does_not_matter_if_labels_follow():
    student, teacher, labels = torch.randn(4, 5), torch.randn(4, 5), torch.tensor([0, 3, 4, 3])
    order = torch.tensor([3, 0, 4, 1, 2])
    loss = DKDLoss()
    moved = loss(student[:, order], teacher[:, order], order.argsort()[labels])
    assert moved.item() == pytest.approx(loss(student, teacher, labels).item(), rel=1e-4)


def test_a_sure_teacher_and_a_sure_student_stay_finite():
    student = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
    value = DKDLoss(temperature=1.0)(student, -student.detach(), torch.tensor([0]))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(student.grad).all() and value > 100


@pytest.mark.parametrize(
    "labels, message",
    [
        (torch.tensor([0, 5]), "labels must be at least 0 and below 5, but they go from 0 to 5"),
        (torch.tensor([-1, 2]), "but they go from -1 to 2"),
        (torch.tensor([1]), r"each of the 2 samples, but they are torch.int64 of shape \(1,\)"),
        (torch.rand(2, 5), r"whole number .* torch.float32 of shape \(2, 5\)"),
        (torch.tensor([True, False]), "whole number .* torch.bool"),
        (torch.tensor([0.0, 1.0]), "whole number .* torch.float32"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        DKDLoss()(torch.randn(2, 5), torch.randn(2, 5), labels)


def test_of_two_classes_only_the_target_part_is_left():
    # Student (1/2, 1/2), teacher (3/4, 1/4).
    teacher = torch.tensor([[math.log(3), 0.0]])
    value = DKDLoss(temperature=1.0)(torch.zeros(1, 2), teacher, torch.tensor([0]))
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_labels_may_be_of_any_whole_type():
    student, teacher, labels = torch.randn(3, 5), torch.randn(3, 5), torch.tensor([0, 4, 2])
    values = [DKDLoss()(student, teacher, labels.to(kind)) for kind in (torch.int64, torch.int32)]
    assert values[0] == values[1]


def test_a_single_class_is_refused():
    with pytest.raises(ValueError, match=r"two or more classes, but they are \(2, 1\)"):
        DKDLoss()(torch.randn(2, 1), torch.randn(2, 1), torch.zeros(2, dtype=torch.long))


def test_bad_temperature_is_refused():
    with pytest.raises(ValueError, match="temperature must be above 0, but it is 0"):
        DKDLoss(temperature=0)
