"""Centerness responses of dense heads (ATSS, FCOS): binary divergence at positive anchors."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from kd_core.checks import check_feature_map
from kd_core.dense import (
    Levels,
    anchor_values,
    binary_divergence,
    confidence,
    rows_of,
    same_rows,
    weighted_mean,
)
from kd_core.layers import levels_of
from kd_core.losses.base import DistillationLoss


class CenternessResponseLoss(DistillationLoss):
    """The centerness that a one-stage head predicts, at the student's positive anchors.

        p_i  = sigmoid(teacher), q_i = sigmoid(student), of anchor i
        loss = loss_weight * sum_i w_i KL of (p_i, 1 - p_i) from (q_i, 1 - q_i) / max(1, sum_i w_i)
        w_i  = 1 of positive anchors, 0 of others; without labels the teacher's highest class
               probability

    Part of Wang et al., "CrossKD: Cross-Head Knowledge Distillation for Object Detection", CVPR
    2024, https://arxiv.org/abs/2306.11369, for ATSS. Status: the authors' code takes the binary
    cross-entropy, which has the same gradient and is not 0 at equality, and divides by the number
    of positive anchors of all ranks (``average``). Weights by confidence are ours.

    Args:
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If the weight is out of its range.

    Example:
        >>> import torch
        >>> maps = dict(scores=torch.zeros(2, 3, 4, 4), centers=torch.zeros(2, 1, 4, 4))
        >>> CenternessResponseLoss()(maps, maps).item()
        0.0
    """

    roles = ("scores", "centers")
    takes = ("labels", "average")

    def forward(
        self,
        student: Mapping[str, Levels],
        teacher: Mapping[str, Levels],
        labels: Levels | None = None,
        average: Levels | float | None = None,
    ) -> Tensor:
        """Compare the centerness.

        Args:
            student: ``centers``: logits (N, A, H, W), or a list of them. Its ``scores`` do not
                count.
            teacher: The same, and ``scores``: logits (N, A * classes, H, W), or a list; no gradient
                flows into them.
            labels: Class of each anchor of each level, or a list, as the head's loss of classes
                gets it: from 0 to classes - 1 of a positive anchor; ``None`` takes the teacher's
                confidence as weights.
            average: Divisor; ``None`` takes the sum of the weights, at least 1. Of a tensor, or a
                list of equal ones, at least 1.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If the maps differ in shape, or there is not one label for each anchor.
        """
        first = levels_of(student["centers"])[0]
        check_feature_map(first, "student's centerness")
        anchors = max(first.shape[1], 1)
        own, target = same_rows(student["centers"], teacher["centers"], anchors, "centerness")
        if labels is None:
            weights = confidence(teacher["scores"], anchors)
        else:
            classes = rows_of(teacher["scores"], anchors, "scores").shape[1]
            found = anchor_values(labels, own, "labels")
            weights = ((found >= 0) & (found < classes)).float()
        values = binary_divergence(own, target)[:, 0]
        return self.loss_weight * weighted_mean(values, weights, average)
