"""Class responses of dense heads: quality focal (CrossKD's), binary or softmax divergence."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.checks import check_choice, check_positive
from kd_core.dense import (
    Levels,
    anchor_doubts,
    anchor_values,
    binary_divergence,
    confidence,
    same_rows,
    total_weight,
    weighted_mean,
)
from kd_core.losses.base import DistillationLoss

_FORMS = ("quality", "binary", "softmax")


class ClassResponseLoss(DistillationLoss):
    """The class scores of a one-stage head, at each anchor of each place and level.

        p = sigmoid(teacher), q = sigmoid(student); c_i = highest p of anchor i
        quality: e_i = sum over classes of BCE(q, p) * |q - p|^beta,       w_i = 1
        binary:  e_i = sum over classes of KL of (p, 1 - p) from (q, 1 - q), w_i = c_i
        softmax: e_i = t^2 * sum over classes of P log(P / Q),               w_i = c_i
                 P, Q = softmax of teacher / t, student / t
        loss = loss_weight * sum_i l_i w_i e_i / max(1, sum_i c_i), label weights l_i or 1

    "quality" is KD-QFL of Wang et al., "CrossKD: Cross-Head Knowledge Distillation for Object
    Detection", CVPR 2024, https://arxiv.org/abs/2306.11369, after the quality focal loss of Li et
    al. (GFL, NeurIPS 2020). Status: the formula of the authors' code, whose gradient passes through
    the factor |q - p|; it weights anchors with the student's label weights and divides by the
    number of its positive anchors (FCOS: weights none, divides by the sum of their centerness
    targets, and not by less than 1e-6, where we stop at 1). Those two are ``label_weights`` and
    ``average``; without them all anchors count, and the divisor is the teacher's confidence.
    "softmax" is the class part of Zheng et al., "Localization Distillation for Dense Object
    Detection", CVPR 2022, https://arxiv.org/abs/2102.12252, whose code also divides by the number
    of classes and counts the positive anchors alone. "binary" is ours.

    Args:
        form: "quality", "binary" or "softmax".
        anchors: Anchors of a place (RetinaNet 9, most others 1): blocks of channels.
        beta: Exponent of "quality", at least 1.
        temperature: Divisor t of both logits in "softmax", above 0.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If the form is unknown, or a number is out of its range.

    Example:
        >>> import torch
        >>> ClassResponseLoss()(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)).item()
        0.0
    """

    accepts_lists = True
    takes = ("label_weights", "average", "shares")

    def __init__(
        self,
        form: str = "quality",
        anchors: int = 1,
        beta: float = 1.0,
        temperature: float = 1.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check_choice("form", form, _FORMS)
        check_positive(anchors=anchors, beta=beta, temperature=temperature)
        if beta < 1:
            raise ValueError(f"beta must be at least 1, but it is {beta}.")
        self.form = form
        self.anchors = anchors
        self.beta = beta
        self.temperature = temperature

    def forward(
        self,
        student: Levels,
        teacher: Levels,
        weights: Tensor | None = None,
        average: Levels | float | None = None,
        label_weights: Levels | None = None,
        shares: Tensor | None = None,
    ) -> Tensor:
        """Compare the class scores.

        Args:
            student: Logits (N, A * classes, H, W), or a list of them.
            teacher: The same; no gradient flows into them.
            weights: Weight (R,) of each anchor, in mmdet's order: level, image, height, width,
                anchor; ``None`` takes the form's.
            average: Divisor; ``None`` takes the teacher's confidence. Of a tensor, or a list of
                equal ones, at least 1.
            label_weights: Factors on the weights: numbers for each anchor of each level, or a list.
            shares: Factors (R,) besides, of several teachers; the divisor stays.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If the maps differ in shape, or are not those of A anchors, or there is not
                one label weight for each anchor.
        """
        own, target = same_rows(student, teacher, self.anchors, "class scores")
        sure = confidence(teacher, self.anchors)
        if weights is None:
            weights = torch.ones_like(sure) if self.form == "quality" else sure
        if label_weights is not None:
            weights = weights * anchor_values(label_weights, own, "label_weights")
        divisor = total_weight(sure) if average is None else average
        return self.loss_weight * weighted_mean(self._values(own, target), weights, divisor, shares)

    def doubts(self, teacher: Levels, labels: Levels | None = None) -> Tensor:
        """Return how unsure a teacher is of each anchor: :func:`kd_core.dense.anchor_doubts`."""
        return anchor_doubts(teacher, self.anchors, labels)

    def _values(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return e (R,) of logits (R, classes)."""
        if self.form == "softmax":
            logs = [torch.log_softmax(x / self.temperature, dim=1) for x in (student, teacher)]
            parts = F.kl_div(logs[0], logs[1], reduction="none", log_target=True)
            return self.temperature**2 * parts.sum(dim=1)
        if self.form == "binary":
            return binary_divergence(student, teacher).sum(dim=1)
        wanted = teacher.sigmoid()
        parts = F.binary_cross_entropy_with_logits(student, wanted, reduction="none")
        return (parts * (student.sigmoid() - wanted).abs().pow(self.beta)).sum(dim=1)
