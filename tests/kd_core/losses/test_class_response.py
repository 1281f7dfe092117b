import math

import pytest
import torch

from kd_core.losses import ClassResponseLoss


def maps(rows):
    """Rows (R, classes) as a map of one place for each row."""
    return rows[..., None, None]


class TestClassResponseLoss:
    def test_agrees_with_crosskd(self, recorded):
        """github.com/jbwang1997/CrossKD at 87e156a4, mmdet/models/losses/kd_loss.py."""
        known = recorded("crosskd_qfl")
        student = known["student"].requires_grad_()
        value = ClassResponseLoss()(
            maps(student), maps(known["teacher"]), weights=known["weight"], average=3
        )
        value.backward()
        assert value.item() == pytest.approx(known["value"].item(), rel=1e-4)
        torch.testing.assert_close(student.grad, known["grad_student"], rtol=1e-4, atol=1e-6)

    def test_agrees_with_ld(self, recorded):
        """github.com/HikariTJU/LD at 4287990c, mmdet/models/losses/kd_loss.py; mean of classes."""
        known = recorded("ld_classification")
        student = known["student"].requires_grad_()
        loss = ClassResponseLoss("softmax", temperature=2.0, loss_weight=10.0 / 8)
        value = loss(maps(student), maps(known["teacher"]), weights=known["weight"], average=5)
        value.backward()
        assert value.item() == pytest.approx(known["value"].item(), rel=1e-4)
        torch.testing.assert_close(student.grad, known["grad_student"], rtol=1e-4, atol=1e-6)

    def test_by_hand(self):
        """One place, two classes: p = (1/2, 3/4), q = (1/2, 1/2), confidence 3/4."""
        student, teacher = torch.zeros(1, 2, 1, 1), maps(torch.tensor([[0.0, math.log(3.0)]]))
        assert ClassResponseLoss()(student, teacher).item() == pytest.approx(0.25 * math.log(2))
        divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
        binary = ClassResponseLoss("binary")(student, teacher)
        assert binary.item() == pytest.approx(0.75 * divergence, rel=1e-5)

    def test_the_average_is_over_what_the_teacher_sees(self):
        """Ten places with confidence 1, five times as many: the same value."""
        student = torch.zeros(1, 1, 1, 10)
        once = ClassResponseLoss()(student, torch.full_like(student, 9.0))
        more = ClassResponseLoss()(
            student.repeat(5, 1, 1, 1), torch.full_like(student, 9.0).repeat(5, 1, 1, 1)
        )
        assert more.item() == pytest.approx(once.item(), rel=1e-5)

    def test_levels_are_averaged_together(self):
        torch.manual_seed(0)
        student, teacher = torch.randn(2, 2, 3, 4, 4)
        wide = ClassResponseLoss()(student, teacher)
        halves = ClassResponseLoss()(list(student.split(2, dim=3)), list(teacher.split(2, dim=3)))
        assert halves.item() == pytest.approx(wide.item(), rel=1e-5)

    def test_anchors_are_blocks_of_channels(self):
        torch.manual_seed(0)
        student, teacher = torch.randn(2, 1, 6, 1, 1)
        of_two = ClassResponseLoss("binary", anchors=2)(student, teacher)
        apart = ClassResponseLoss("binary")(
            student.reshape(2, 3, 1, 1), teacher.reshape(2, 3, 1, 1)
        )
        assert of_two.item() == pytest.approx(apart.item(), rel=1e-5)

    def test_bad_input_is_named(self):
        with pytest.raises(ValueError, match="a block of channels for each of the 4 anchors"):
            ClassResponseLoss(anchors=4)(torch.zeros(1, 6, 2, 2), torch.zeros(1, 6, 2, 2))
        with pytest.raises(ValueError, match="must predict class scores at the same anchors"):
            ClassResponseLoss()(torch.zeros(1, 6, 2, 2), torch.zeros(1, 8, 2, 2))
        with pytest.raises(ValueError, match="form must be one of"):
            ClassResponseLoss("focal")
        with pytest.raises(ValueError, match="beta must be at least 1"):
            ClassResponseLoss(beta=0.5)

    def test_label_weights_are_factors_in_every_form(self):
        """Two places; the second does not count, the first half; no positive: divided by 1."""
        student, teacher = torch.randn(2, 1, 3, 1, 2, generator=torch.Generator().manual_seed(0))
        for form in ("quality", "binary", "softmax"):
            loss = ClassResponseLoss(form)
            value = loss(student, teacher, average=2, label_weights=torch.tensor([[0.5, 0.0]]))
            first = loss(student[..., :1], teacher[..., :1], average=2)
            assert value.item() == pytest.approx(0.5 * first.item(), rel=1e-5)
            none = torch.zeros(2), torch.tensor(0)
            assert loss(student, teacher, label_weights=none[0], average=none[1]).item() == 0.0

    def test_label_weights_of_other_anchors_are_named(self):
        maps = torch.zeros(2, 6, 4, 4)
        message = r"label_weights must have a number for each anchor, but there are 32 for 64"
        with pytest.raises(ValueError, match=message):
            ClassResponseLoss(anchors=2)(maps, maps, label_weights=torch.ones(2, 16))
