"""Attention transfer: the student looks where the teacher looks."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_core.attention import activation_attention, match_sizes
from kd_core.checks import check_choice, check_power
from kd_core.losses.base import DistillationLoss


class AttentionTransferLoss(DistillationLoss):
    """Squared difference between two activation attention maps.

        q(F)  = vec(mean_c |F_c|^p) / its Euclidean length
        code:   loss = loss_weight * mean over N and P of (q(student) - q(teacher))^2
                reduction='sum': the sum over P and the mean over N of the same squares
        paper:  loss = loss_weight * mean over N of ||q(student) - q(teacher)||_2

    Zagoruyko and Komodakis, "Paying More Attention to Attention: Improving the Performance of
    Convolutional Neural Networks via Attention Transfer", ICLR 2017,
    https://arxiv.org/abs/1612.03928. Status: the authors' code (``form='code'``, usual weight
    1000) and Eq. 2 of the paper (``form='paper'``). ``reduction='sum'`` is ours: q has length 1,
    so a mean over P shrinks as the map grows, and the sum does not; use it for detectors.
    Channels may differ; of two sizes the larger is average-pooled to the smaller.

    Args:
        power: Exponent p on the absolute activations, at least 1.
        form: 'code' or 'paper'.
        reduction: 'mean' (over N and P) or 'sum' (over P, mean over N); for ``form='code'``.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, or ``power`` is below 1, an option
            is unknown, or ``reduction='sum'`` is asked of ``form='paper'``.

    Example:
        >>> import torch
        >>> loss = AttentionTransferLoss(loss_weight=1000.0)
        >>> loss(torch.ones(2, 64, 8, 8), torch.ones(2, 256, 8, 8)).item()
        0.0
    """

    def __init__(
        self,
        power: float = 2.0,
        form: str = "code",
        reduction: str = "mean",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check_power(power)
        check_choice("form", form, ("code", "paper"))
        check_choice("reduction", reduction, ("mean", "sum"))
        if form == "paper" and reduction == "sum":
            raise ValueError(
                "reduction must be 'mean' with form='paper', which is a norm over all positions "
                "already, but it is 'sum'."
            )
        self.power = power
        self.form = form
        self.reduction = reduction

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare the two attention maps of a batch.

        Args:
            student: Feature map (N, C_s, H, W).
            teacher: Feature map (N, C_t, H, W); no gradient flows into it.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If either is not 4-D, or if N differs.
        """
        student, teacher = match_sizes(student, teacher.detach())
        student_attention = activation_attention(student, self.power)  # (N, H*W)
        difference = student_attention - activation_attention(teacher, self.power)
        if self.form == "paper":
            distance: Tensor = torch.linalg.vector_norm(difference, dim=1)
            return self.loss_weight * distance.mean()
        squares = difference.square()
        reduced = squares.mean() if self.reduction == "mean" else squares.sum(dim=1).mean()
        return self.loss_weight * reduced
