import math

import pytest
import torch

from kd_core.losses import CenternessResponseLoss, ClassResponseLoss

SCORES = torch.zeros(1, 2, 1, 3)  # two classes: every confidence is 1/2
TEACHER = {"scores": SCORES, "centers": torch.tensor([[[[math.log(3.0), 0.0, 5.0]]]])}


def student():
    return {"scores": SCORES, "centers": torch.zeros(1, 1, 1, 3, requires_grad=True)}


class TestCenternessResponseLoss:
    def test_by_hand(self):
        """Three places, the first two positive: p = 3/4, 1/2, q = 1/2, 1/2; four positives."""
        own, labels = student(), torch.tensor([1, 0, 2])  # the last class number is background
        value = CenternessResponseLoss(2.0)(own, TEACHER, labels=labels, average=torch.tensor(4.0))
        divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
        assert value.item() == pytest.approx(2.0 * divergence / 4.0, rel=1e-5)
        value.backward()
        slope = torch.tensor([[[[2.0 * (0.5 - 0.75) / 4.0, 0.0, 0.0]]]])
        torch.testing.assert_close(own["centers"].grad, slope)

    def test_its_gradient_is_that_of_the_authors_cross_entropy(self):
        torch.manual_seed(0)
        centers, teacher = torch.randn(2, 2, 1, 3, 4)
        scores, positive = torch.zeros(2, 5, 3, 4), torch.arange(24) % 3 == 0
        labels = torch.where(positive, 4, 5)
        own, theirs = (centers.clone().requires_grad_() for _ in range(2))
        CenternessResponseLoss()(
            {"centers": own},
            {"scores": scores, "centers": teacher},
            labels=[labels.reshape(2, 12)],
            average=8.0,
        ).backward()
        rows = [one.permute(0, 2, 3, 1).flatten()[positive] for one in (theirs, teacher)]
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(
            rows[0], rows[1].sigmoid(), reduction="sum"
        )
        (entropy / 8.0).backward()
        torch.testing.assert_close(own.grad, theirs.grad)

    def test_without_labels_confidence_weights(self):
        value = CenternessResponseLoss()(student(), TEACHER)
        weighted = ClassResponseLoss("binary")(
            torch.zeros(1, 1, 1, 3), TEACHER["centers"], weights=torch.full((3,), 0.5), average=1.5
        )
        assert value.item() == pytest.approx(weighted.item(), rel=1e-5)

    def test_no_positive_gives_zero(self):
        own = student()
        value = CenternessResponseLoss()(own, TEACHER, labels=torch.full((3,), 2), average=0.5)
        value.backward()
        assert value.item() == 0.0 and not own["centers"].grad.any()

    def test_a_label_for_each_anchor(self):
        with pytest.raises(ValueError, match="labels must have a number for each anchor"):
            CenternessResponseLoss()(student(), TEACHER, labels=torch.zeros(4))
        with pytest.raises(ValueError, match="must predict centerness at the same anchors"):
            CenternessResponseLoss()(
                {"centers": torch.zeros(1, 1, 2, 2)}, {**TEACHER, "centers": SCORES}
            )
