import pytest
import torch

from kd_core.losses import RegionBoxLoss


class TestRegionBoxLoss:
    def test_by_hand(self):
        """Region 0 differs by 1, 2, 0, 3 in its class; 1 is background; 2 by four halves."""
        student, teacher = torch.zeros(3, 8, requires_grad=True), torch.zeros(3, 8)
        teacher[0, 4:] = torch.tensor([1.0, -2.0, 0.0, 3.0])
        teacher[0, :4], teacher[1], teacher[2, :4] = 100.0, 100.0, 0.5
        value = RegionBoxLoss()(student, teacher, torch.tensor([1, 2, 0]))
        assert value.item() == pytest.approx((6.0 + 2.0) / 2)
        value.backward()
        expected = torch.zeros(3, 8)
        expected[0, 4:], expected[2, :4] = torch.tensor([-0.5, 0.5, 0.0, -0.5]), -0.5
        torch.testing.assert_close(student.grad, expected)

    def test_without_foreground_it_is_zero(self):
        student = torch.ones(2, 8, requires_grad=True)
        value = RegionBoxLoss()(student, torch.zeros(2, 8), torch.tensor([2, 2]))
        value.backward()
        assert value.item() == 0.0 and not student.grad.any()

    def test_a_head_with_one_box_for_all_classes(self):
        labels = torch.tensor([1, 2])
        teacher = torch.zeros(2, 8)
        teacher[:, 4:] = 1.0
        assert RegionBoxLoss()(torch.zeros(2, 4), teacher, labels).item() == 4.0
        agnostic = RegionBoxLoss(classes=2)(torch.zeros(2, 4), torch.ones(2, 4), labels)
        assert agnostic.item() == 4.0

    @pytest.mark.parametrize(
        ("shapes", "message"),
        [
            (((2, 4), (2, 4)), "Set classes"),
            (((2, 8), (2, 12)), "number of classes must be one"),
            (((2, 6), (2, 6)), "box offsets"),
            (((2, 8), (3, 8)), "of the same regions"),
        ],
    )
    def test_bad_input_is_named(self, shapes, message):
        student, teacher = map(torch.zeros, shapes)
        with pytest.raises(ValueError, match=message):
            RegionBoxLoss()(student, teacher, torch.tensor([0, 1]))
