"""Box responses of dense heads: the overlap of the student's and the teacher's boxes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kd_core.checks import check_choice, check_feature_map
from kd_core.dense import (
    Levels,
    anchor_doubts,
    confidence,
    counted,
    giou,
    iou,
    same_rows,
    weighted_mean,
)
from kd_core.layers import levels_of
from kd_core.losses.base import DistillationLoss

_LARGEST = math.log(1000 / 16)  # mmdet's clip of the logarithm of width and height
_SHORTEST = 1e-3  # side of a box, so that equal boxes overlap
_LONGEST = math.log(1e5)  # logarithm of a side, so that areas stay finite
_LEAST = 1e-6  # IoU whose logarithm counts, as in mmdet


class BoxResponseLoss(DistillationLoss):
    """Overlap of the boxes that a one-stage head predicts at each anchor of each place.

        loss = loss_weight * sum_i w_i o(student's box i, teacher's box i) / max(1, sum w)
        w_i  = the teacher's highest class probability
        o    = 1 - GIoU, or ("log_iou") -log(max(IoU, 1e-6))
        "delta":    center (d_x, d_y) * stds, size exp((d_w, d_h) * stds), clipped as mmdet does
        "distance": sides left, top, right, bottom of the place, each at least 0.001
        "log_distance": their logarithms, each at most log(100000)

    Box part of Wang et al., "CrossKD: Cross-Head Knowledge Distillation for Object Detection", CVPR
    2024, https://arxiv.org/abs/2306.11369, with the GIoU of Rezatofighi et al., CVPR 2019. Status:
    the formula of the authors' code, which divides by the number of positive anchors (``average``;
    FCOS: the sum of their centerness targets, "log_iou" and ``loss_weight=0.75``). An overlap does
    not depend on where an anchor is and how large, so the loss needs no anchors, but both heads
    must have the same.

    Args:
        form: "delta" (RetinaNet, ATSS, RPN; YOLOX), "distance" (FCOS, RTMDet) or "log_distance"
            (layers of such a head before its exponential: FCOS's ``scales``, without
            ``norm_on_bbox``; RTMDet's ``rtm_reg`` with ``exp_on_reg``).
        stds: The box coder's ``target_stds``, of "delta": RetinaNet 1, 1, 1, 1; ATSS 0.1, 0.1, 0.2,
            0.2.
        overlap: "giou" or "log_iou".
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If the form or overlap is unknown, or a weight is out of its range.

    Example:
        >>> import torch
        >>> maps = dict(scores=torch.zeros(2, 3, 4, 4), boxes=torch.zeros(2, 4, 4, 4))
        >>> BoxResponseLoss()(maps, maps).item()
        0.0
    """

    roles = ("scores", "boxes")
    takes = ("label_weights", "average", "shares")

    def __init__(
        self,
        form: str = "delta",
        stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        overlap: str = "giou",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check_choice("form", form, ("delta", "distance", "log_distance"))
        check_choice("overlap", overlap, ("giou", "log_iou"))
        self.form = form
        self.overlap = overlap
        self.stds = tuple(stds)

    def forward(
        self,
        student: Mapping[str, Levels],
        teacher: Mapping[str, Levels],
        weights: Tensor | None = None,
        average: Levels | float | None = None,
        label_weights: Levels | None = None,
        shares: Tensor | None = None,
    ) -> Tensor:
        """Compare the boxes.

        Args:
            student: ``boxes``: maps (N, A * 4, H, W), or a list of them. Its ``scores`` do not
                count.
            teacher: The same, and ``scores``: logits (N, A * classes, H, W), or a list; no gradient
                flows into them.
            weights: Weight (R,) of each anchor, in mmdet's order; ``None`` takes the teacher's
                confidence.
            average: Divisor; ``None`` takes the sum of the weights, at least 1. Of a tensor, or a
                list of equal ones, at least 1.
            label_weights: Numbers for each anchor of each level, or a list; where one is 0, the
                anchor does not count.
            shares: Factors (R,) besides, of several teachers; the divisor stays.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If the maps differ in shape, or have not four channels for each anchor.
        """
        first = levels_of(student["boxes"])[0]
        check_feature_map(first, "student's boxes")
        anchors = max(first.shape[1] // 4, 1)
        own, target = same_rows(student["boxes"], teacher["boxes"], anchors, "boxes")
        if own.shape[1] != 4:
            raise ValueError(
                f"boxes must have four channels for each anchor, but the map is "
                f"{tuple(first.shape)}. Take DistributionResponseLoss for distributions."
            )
        if weights is None:
            weights = confidence(teacher["scores"], anchors)
        weights = counted(weights, label_weights)
        pair = self._corners(own), self._corners(target)
        log = self.overlap == "log_iou"
        apart = -iou(*pair).clamp(min=_LEAST).log() if log else 1.0 - giou(*pair)
        return self.loss_weight * weighted_mean(apart, weights, average, shares)

    def doubts(self, teacher: Mapping[str, Levels], labels: Levels | None = None) -> Tensor:
        """Return how unsure a teacher's scores are: :func:`kd_core.dense.anchor_doubts`."""
        anchors = levels_of(teacher["boxes"])[0].shape[1] // 4
        return anchor_doubts(teacher["scores"], anchors, labels)

    def _corners(self, boxes: Tensor) -> Tensor:
        """Return corners (R, 4) of predictions (R, 4), at a place 0 and in units of the anchor."""
        if self.form != "delta":
            sides = boxes if self.form == "distance" else boxes.clamp(max=_LONGEST).exp()
            near, far = sides.clamp(min=_SHORTEST).chunk(2, dim=1)
            return torch.cat((-near, far), dim=1)
        center, size = (boxes * boxes.new_tensor(self.stds)).chunk(2, dim=1)
        half = 0.5 * size.clamp(-_LARGEST, _LARGEST).exp()
        return torch.cat((center - half, center + half), dim=1)
