import pytest
import torch

from kd_core.anchor_region import localization_region, square_anchors
from kd_core.losses import DistributionResponseLoss, LocalizationRegionLoss

STRIDES = (8, 16)


def maps(seed):
    torch.manual_seed(seed)
    sizes = ((8, 8), (4, 4))
    return {
        "scores": [torch.randn(2, 3, *size) for size in sizes],
        "boxes": [torch.randn(2, 20, *size, requires_grad=seed == 0) for size in sizes],
    }


BOXES = [torch.tensor([[10.0, 12.0, 50.0, 44.0]]), torch.zeros(0, 4)]


class TestLocalizationRegionLoss:
    def test_sides_in_the_region_count_by_hand(self):
        """One level of 4 x 1 anchors of side 16 at 0, 8, 16, 24, and a box like the first.

        IoU is 1, 1/3, 0, 0: mean 1/3, deviation sqrt(2/9), threshold .805, a quarter of it .201.
        The second's DIoU is 1/3 - 64 / (24^2 + 16^2) = .256: it alone lies in the region.
        """
        torch.manual_seed(0)
        student, teacher = ({"boxes": torch.randn(1, 8, 1, 4), "scores": None} for _ in "ab")
        loss = LocalizationRegionLoss([8], anchor_scale=2.0, temperature=1.0, summed=True)
        value = loss(student, teacher, boxes=[torch.tensor([[-8.0, -8.0, 8.0, 8.0]])])
        logs = [one["boxes"][0, :, 0, 1].reshape(4, 2).log_softmax(1) for one in (student, teacher)]
        divergence = (logs[1].exp() * (logs[1] - logs[0])).sum(1).mean()
        assert value.item() == pytest.approx(divergence.item() / 3, rel=1e-5)

    def test_other_anchors_get_no_gradient(self):
        student, teacher = maps(0), maps(1)
        LocalizationRegionLoss(STRIDES)(student, teacher, boxes=BOXES).backward()
        grads = [level.grad.abs().sum(1) for level in student["boxes"]]
        assert all(grad[1].sum() == 0 for grad in grads)  # an image without boxes
        assert 0 < (grads[0][0] > 0).sum() < 64

    def test_summed_grows_with_the_batch_and_the_mean_does_not(self):
        student, teacher = maps(2), maps(3)
        twice = [
            {name: [torch.cat([one, one]) for one in levels] for name, levels in side.items()}
            for side in (student, teacher)
        ]
        for summed, factor in ((True, 2.0), (False, 1.0)):
            loss = LocalizationRegionLoss(STRIDES, summed=summed)
            once = loss(student, teacher, boxes=BOXES)
            assert loss(*twice, boxes=BOXES * 2).item() == pytest.approx(
                factor * once.item(), rel=1e-5
            )

    def test_no_box_in_the_batch_gives_0_and_no_nan(self):
        student, teacher = maps(0), maps(1)
        value = LocalizationRegionLoss(STRIDES)(student, teacher, boxes=[torch.zeros(0, 4)] * 2)
        value.backward()
        assert value.item() == 0.0
        assert all(level.grad.abs().sum() == 0 for level in student["boxes"])

    def test_strides_that_do_not_fit_are_named(self):
        with pytest.raises(ValueError, match="there are 5 for 2 levels"):
            LocalizationRegionLoss()(maps(0), maps(1), boxes=BOXES)

    def test_weights_are_those_of_the_region(self):
        """Rows are in mmdet's order: level, image, place."""
        student, teacher = maps(2), maps(3)
        anchors = square_anchors([(8, 8), (4, 4)], STRIDES, 8.0, torch.device("cpu"))
        found = localization_region(anchors, BOXES)
        weights = torch.cat([found[0][0], found[0][1], found[1][0], found[1][1]])
        expected = DistributionResponseLoss()(student, teacher, weights=weights)
        value = LocalizationRegionLoss(STRIDES)(student, teacher, boxes=BOXES)
        assert weights.sum() > 1 and value.item() == pytest.approx(expected.item(), rel=1e-6)
