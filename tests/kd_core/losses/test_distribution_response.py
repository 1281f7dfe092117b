import math

import pytest
import torch

from kd_core.losses import ClassResponseLoss, DistributionResponseLoss


class TestDistributionResponseLoss:
    def test_agrees_with_ld(self, recorded):
        """github.com/HikariTJU/LD at 4287990c, mmdet/models/losses/kd_loss.py: rows of sides."""
        known = recorded("ld_distribution")
        student = known["student"].requires_grad_()
        sides = [{"boxes": one.reshape(3, 68, 1, 1)} for one in (student, known["teacher"])]
        loss = DistributionResponseLoss(10.0, loss_weight=0.25 / 17)
        value = loss(*sides, weights=known["weight"][::4], average=1)
        value.backward()
        assert value.item() == pytest.approx(known["value"].item(), rel=1e-4)
        torch.testing.assert_close(student.grad, known["grad_student"], rtol=1e-4, atol=1e-7)

    def test_agrees_with_a_level_of_lds_head(self, recorded):
        """The same, mmdet/models/dense_heads/ld_head.py: positives, region, classes."""
        known = recorded("ld_head_level")
        scores, boxes = (known[f"student_{name}"].requires_grad_() for name in ("scores", "boxes"))
        student = {"scores": scores, "boxes": boxes}
        teacher = {name: known[f"teacher_{name}"] for name in ("scores", "boxes")}
        positive = (known["labels"] < 3).float().flatten()
        rows = scores.detach().permute(0, 2, 3, 1).reshape(-1, 3)
        own = rows.sigmoid().amax(dim=1) * positive
        ld = DistributionResponseLoss(10.0, loss_weight=0.25 / 5)
        main = ld(student, teacher, weights=own, average=1)
        region = ld(student, teacher, weights=known["region"].flatten() / 4, average=1)
        kd = ClassResponseLoss("softmax", temperature=2.0, loss_weight=10.0 / 3)
        classes = kd(
            scores,
            teacher["scores"],
            weights=known["label_weights"].flatten() * positive,
            average=positive.sum(),
        )
        for value, name in ((main, "ld"), (region, "ld_vlr"), (classes, "kd")):
            assert value.item() == pytest.approx(known[f"value_{name}"].item(), rel=1e-4)
        (main + region + classes).backward()
        torch.testing.assert_close(scores.grad, known["grad_student_scores"], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(boxes.grad, known["grad_student_boxes"], rtol=1e-4, atol=1e-6)

    def test_agrees_with_crosskd(self, recorded):
        """github.com/jbwang1997/CrossKD at 87e156a4, mmdet/models/detectors/crosskd_gfl.py."""
        known = recorded("crosskd_gfl_level")
        scores, boxes = (known[f"student_{name}"].requires_grad_() for name in ("scores", "boxes"))
        teacher = {name: known[f"teacher_{name}"] for name in ("scores", "boxes")}
        more = dict(label_weights=[known["label_weights"]])
        average = [torch.tensor(3), torch.tensor(3)]
        classes = ClassResponseLoss()(scores, teacher["scores"], average=average, **more)
        found = DistributionResponseLoss(1.0, loss_weight=4.0)({"boxes": boxes}, teacher, **more)
        assert classes.item() == pytest.approx(known["value_class"].item(), rel=1e-4)
        assert found.item() == pytest.approx(known["value_box"].item(), rel=1e-4)
        (classes + found).backward()
        torch.testing.assert_close(scores.grad, known["grad_student_scores"], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(boxes.grad, known["grad_student_boxes"], rtol=1e-4, atol=1e-6)

    def test_by_hand(self):
        """One side of four differs: P = (3/4, 1/4), Q = (1/2, 1/2); confidence 1/2, two places."""
        boxes = torch.zeros(1, 8, 1, 2)
        boxes[:, 0] = math.log(3.0)
        teacher = {"scores": torch.zeros(1, 1, 1, 2), "boxes": boxes}
        student = {"boxes": torch.zeros(1, 8, 1, 2)}
        divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
        value = DistributionResponseLoss(1.0)(student, teacher)
        assert value.item() == pytest.approx(divergence / 4, rel=1e-5)

    def test_a_teacher_that_sees_nothing_teaches_next_to_nothing(self):
        torch.manual_seed(0)
        scores = torch.full((1, 3, 4, 4), -20.0)
        student, teacher = ({"scores": scores, "boxes": torch.randn(1, 20, 4, 4)} for _ in "ab")
        assert DistributionResponseLoss()(student, teacher).item() < 1e-5

    def test_plain_boxes_are_refused(self):
        maps = {"scores": torch.zeros(1, 3, 2, 2), "boxes": torch.zeros(1, 4, 2, 2)}
        with pytest.raises(ValueError, match="several bins for each of four sides"):
            DistributionResponseLoss()(maps, maps)
