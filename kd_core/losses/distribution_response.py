"""Localization distillation (LD): the distributions of box sides of GFL-like heads."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.checks import check_positive
from kd_core.dense import Levels, anchor_doubts, confidence, counted, same_rows, weighted_mean
from kd_core.losses.base import DistillationLoss


class DistributionResponseLoss(DistillationLoss):
    """Divergence of the predicted distributions of each box's four sides.

        P, Q = softmax over the bins of a side, of teacher / t, student / t
        d_i  = t^2 * mean over 4 sides of sum over bins of P log(P / Q), of anchor i
        loss = loss_weight * sum_i w_i d_i / max(1, sum_i w_i)
        w_i  = the teacher's highest class probability

    Zheng et al., "Localization Distillation for Dense Object Detection", CVPR 2022,
    https://arxiv.org/abs/2102.12252, for heads that predict distributions (GFL, LD, VFNet's kin).
    Status: the divergence is the authors' code's, with the weights and the normalization of
    CrossKD's (Wang et al., CVPR 2024, https://arxiv.org/abs/2306.11369; there temperature 1, weight
    4), which need no targets. LD's own code takes temperature 10 and sums over its positive anchors
    and its "valuable region" with weights of its own, divides by 17 bins and not by the sum of
    weights, so that its loss grows with the batch: that is ``loss_weight=0.25 / 17`` (region:
    ``/ 4`` more) with ``weights`` and ``average=1``.

    Args:
        temperature: Divisor t of both logits, above 0.
        anchors: Anchors of a place: blocks of channels.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If a number is out of its range.

    Example:
        >>> import torch
        >>> maps = dict(scores=torch.zeros(2, 3, 4, 4), boxes=torch.zeros(2, 68, 4, 4))
        >>> DistributionResponseLoss()(maps, maps).item()
        0.0
    """

    roles = ("scores", "boxes")
    takes: tuple[str, ...] = ("label_weights", "average", "shares")

    def __init__(
        self, temperature: float = 10.0, anchors: int = 1, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight)
        check_positive(temperature=temperature, anchors=anchors)
        self.temperature = temperature
        self.anchors = anchors

    def forward(
        self,
        student: Mapping[str, Levels],
        teacher: Mapping[str, Levels],
        weights: Tensor | None = None,
        average: Levels | float | None = None,
        label_weights: Levels | None = None,
        shares: Tensor | None = None,
    ) -> Tensor:
        """Compare the distributions.

        Args:
            student: ``boxes``: logits (N, A * 4 * bins, H, W), or a list of them. Its ``scores``
                do not count.
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
            ValueError: If the maps differ in shape, or are not those of A anchors with four sides.
        """
        own, target = same_rows(student["boxes"], teacher["boxes"], self.anchors, "boxes")
        if own.shape[1] % 4 or own.shape[1] == 4:
            raise ValueError(
                "boxes must have several bins for each of four sides, but there are "
                f"{own.shape[1]} channels for each anchor. Take BoxResponseLoss for plain boxes."
            )
        if weights is None:
            weights = confidence(teacher["scores"], self.anchors)
        weights = counted(weights, label_weights)
        logs = [
            torch.log_softmax(one.reshape(len(one), 4, -1) / self.temperature, dim=2)
            for one in (own, target)
        ]  # (R, 4, bins)
        parts = F.kl_div(logs[0], logs[1], reduction="none", log_target=True).sum(dim=2).mean(dim=1)
        values = self.temperature**2 * parts
        return self.loss_weight * weighted_mean(values, weights, average, shares)

    def doubts(self, teacher: Mapping[str, Levels], labels: Levels | None = None) -> Tensor:
        """Return how unsure a teacher's scores are: :func:`kd_core.dense.anchor_doubts`."""
        return anchor_doubts(teacher["scores"], self.anchors, labels)
