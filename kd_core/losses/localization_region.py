"""Localization distillation in the valuable region: near boxes, where no anchor is positive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kd_core.anchor_region import localization_region, square_anchors
from kd_core.box_masks import Boxes
from kd_core.checks import check_choice, check_feature_map, check_positive
from kd_core.dense import Levels
from kd_core.layers import levels_of
from kd_core.losses.distribution_response import DistributionResponseLoss


class LocalizationRegionLoss(DistributionResponseLoss):
    """Divergence of the distributions of boxes' sides, in LD's valuable localization region.

        loss = loss_weight * sum_i v_i d_i / max(1, sum_i v_i)
        d_i  = as in :class:`DistributionResponseLoss`
        v_i  = the largest IoU of anchor i with a box in whose region it lies, else 0: see
               :func:`kd_core.anchor_region.localization_region`

    Zheng et al., "Localization Distillation for Dense Object Detection", CVPR 2022,
    https://arxiv.org/abs/2102.12252. Status: the authors' code, in agreement with its recorded
    values, but for the divisor: their term is a sum over anchors, and so
    grows with the batch: that is ``summed=True, loss_weight=0.25 / 4 / 17``. The formula
    takes DIoU, the authors' code the common area over the anchor's instead of IoU in it:
    ``overlap="anchor"``. Anchors in the padding of an image count here as the others do.

    Args:
        strides: Pixels between two places of each level.
        anchor_scale: Side of the square anchors in strides, 8 in GFL; their centers are multiples
            of the stride.
        temperature: Divisor t of both logits, above 0.
        overlap: "union" or "anchor".
        summed: Whether to sum over anchors, instead of dividing by the sum of the weights.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> import torch
        >>> maps = dict(scores=torch.zeros(1, 3, 4, 4), boxes=torch.zeros(1, 68, 4, 4))
        >>> boxes = [torch.tensor([[0.0, 0.0, 20.0, 20.0]])]
        >>> LocalizationRegionLoss([8])(maps, maps, boxes=boxes).item()
        0.0
    """

    requires = ("boxes",)
    takes = ()

    def __init__(
        self,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        anchor_scale: float = 8.0,
        temperature: float = 10.0,
        overlap: str = "union",
        summed: bool = False,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(temperature, 1, loss_weight)
        check_positive(anchor_scale=anchor_scale, stride=min(strides, default=0))
        check_choice("overlap", overlap, {"union", "anchor"})
        self.strides = tuple(strides)
        self.anchor_scale = anchor_scale
        self.overlap = overlap
        self.summed = summed

    def forward(  # type: ignore[override]
        self, student: Mapping[str, Levels], teacher: Mapping[str, Levels], boxes: Boxes
    ) -> Tensor:
        """Compare the distributions of anchors in the region.

        Args:
            student: ``boxes``: logits (N, 4 * bins, H, W), or a list of them. Its ``scores`` do
                not count.
            teacher: The same.
            boxes: Ground truth (B_i, 4) of each image, xyxy in pixels of the padded input.

        Returns:
            Scalar loss in float32; 0 where no image has a box.

        Raises:
            ValueError: If the maps differ in shape, are not those of one anchor with four sides,
                or there are not a stride for each level and boxes (B_i, 4) for each image.
        """
        levels = levels_of(student["boxes"])
        for level in levels:
            check_feature_map(level, "student's boxes")
        sizes = [(level.shape[-2], level.shape[-1]) for level in levels]
        anchors = square_anchors(sizes, self.strides, self.anchor_scale, levels[0].device)
        found = localization_region(anchors, boxes, self.overlap)
        weights = torch.cat([level.flatten() for level in found])  # (R,)
        return super().forward(student, teacher, weights, 1.0 if self.summed else None)
