import math

import pytest
import torch

from kd_core.losses import BoxResponseLoss, ClassResponseLoss

SURE = torch.full((1, 1, 1, 1), 30.0)


def place(*values):
    return {"scores": SURE, "boxes": torch.tensor(values).reshape(1, 4, 1, 1)}


class TestBoxResponseLoss:
    def test_agrees_with_crosskd(self, recorded):
        """github.com/jbwang1997/CrossKD at 87e156a4, mmdet/models/detectors/crosskd_retinanet.py.

        Its boxes are decoded at their anchors, ours at a unit anchor.
        """
        known = recorded("crosskd_retina_level")
        scores, boxes = (known[f"student_{name}"].requires_grad_() for name in ("scores", "boxes"))
        teacher = {name: known[f"teacher_{name}"] for name in ("scores", "boxes")}
        more = dict(label_weights=known["label_weights"], average=torch.tensor(3))
        classes = ClassResponseLoss()(scores, teacher["scores"], **more)
        found = BoxResponseLoss()({"boxes": boxes}, teacher, **more)
        assert classes.item() == pytest.approx(known["value_class"].item(), rel=1e-4)
        assert found.item() == pytest.approx(known["value_box"].item(), rel=1e-4)
        (classes + found).backward()
        torch.testing.assert_close(scores.grad, known["grad_student_scores"], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(boxes.grad, known["grad_student_boxes"], rtol=1e-4, atol=1e-6)

    def test_by_hand(self):
        """Side 2 around side 1, the same center: IoU 1/4, no part of the hull is empty."""
        larger = place(0.0, 0.0, math.log(2.0), math.log(2.0))
        value = BoxResponseLoss()(place(0.0, 0.0, 0.0, 0.0), larger)
        assert value.item() == pytest.approx(0.75, rel=1e-5)
        value = BoxResponseLoss("distance")(place(1.0, 1.0, 1.0, 1.0), place(2.0, 2.0, 2.0, 2.0))
        assert value.item() == pytest.approx(0.75, rel=1e-5)

    def test_boxes_apart_by_hand(self):
        """Two unit boxes with a gap of one side: IoU 0, a third of the hull is empty."""
        value = BoxResponseLoss()(place(0.0, 0.0, 0.0, 0.0), place(2.0, 0.0, 0.0, 0.0))
        assert value.item() == pytest.approx(1.0 + 1.0 / 3.0, rel=1e-5)

    def test_logarithms_of_sides_and_of_the_overlap_by_hand(self):
        """Sides 1, 1, 1, 1 in sides 2, 2, 2, 2: IoU 1/4, of which mmdet's IoULoss is -log."""
        loss = BoxResponseLoss("log_distance", overlap="log_iou", loss_weight=0.75)
        inner = place(0.0, 0.0, 0.0, 0.0)
        inner["boxes"].requires_grad_()
        value = loss(inner, place(*[math.log(2.0)] * 4))
        assert value.item() == pytest.approx(0.75 * math.log(4.0), rel=1e-5)
        value.backward()  # the area is (e^l + e^r)(e^t + e^b): half of its logarithm for each side
        torch.testing.assert_close(inner["boxes"].grad, torch.full((1, 4, 1, 1), -0.375))
        far = loss(place(200.0, 200.0, 200.0, 200.0), place(0.0, 0.0, 0.0, 0.0))
        assert math.isfinite(far.item())

    def test_an_unknown_overlap_is_named(self):
        with pytest.raises(ValueError, match="overlap must be one of"):
            BoxResponseLoss(overlap="iou")

    def test_stds_are_those_of_the_coder(self):
        plain = BoxResponseLoss()(place(0.0, 0.0, 0.0, 0.0), place(0.2, 0.1, 0.4, 0.2))
        coded = BoxResponseLoss(stds=(0.1, 0.1, 0.2, 0.2))(
            place(0.0, 0.0, 0.0, 0.0), place(2.0, 1.0, 2.0, 1.0)
        )
        assert coded.item() == pytest.approx(plain.item(), rel=1e-5)

    def test_distributions_are_refused(self):
        maps = {"scores": torch.zeros(1, 3, 2, 2), "boxes": torch.zeros(1, 6, 2, 2)}
        with pytest.raises(ValueError, match="block of channels|four channels"):
            BoxResponseLoss()(maps, maps)
