"""Channel attention: the student relates channels as the teacher relates them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.attention import (
    channel_attention,
    channel_correlation,
    channel_softmax_attention,
    match_sizes,
    pooled_channels,
    unit_channels,
)
from kd_core.checks import check_choice, check_power, check_same_channels
from kd_core.losses.base import DistillationLoss

_AFFINITIES = {
    "cosine": channel_attention,
    "icc": channel_correlation,
    "softmax": channel_softmax_attention,
}
_POOLED = ("pooled", "pooled_unit", "pooled_batch")


class ChannelAttentionLoss(DistillationLoss):
    """Mean squared difference between two channel attentions.

        X    = F as C rows and P = H*W columns
        loss = loss_weight * mean over N and all entries of (G(student) - G(teacher))^2
        cosine:        G = Xb Xb^T, Xb = rows of X scaled to length 1           (N, C, C)
        icc:           G = rows of X X^T scaled to length 1                     (N, C, C)
        softmax:       G = softmax(max - X X^T) over the last axis              (N, C, C)
        pooled:        G = mean of X over positions                             (N, C)
        pooled_unit:   G = sqrt(C) unit(mean of |X|^power over positions)       (N, C)
        pooled_batch:  G = pooled / root of the mean over N and C of the teacher's pooled^2,
                       both sides by this one number                            (N, C)

    The high-level part of HMAT: Gou, Sun, Yu, Wan and Tao, "Hierarchical Multi-Attention Transfer
    for Knowledge Distillation", ACM TOMM 20(2), 2023, https://doi.org/10.1145/3568679. Status:
    reconstruction, since only the abstract is readable. Pooled channels are the likelier reading:
    the same authors mean them by channel knowledge in CCSKD and MSKD-SSR. 'icc' is the relation
    of ICKD (Liu et al.,
    "Exploring Inter-Channel Correlation for Diversity-Preserved Knowledge Distillation", ICCV
    2021, https://arxiv.org/abs/2202.03680), whose authors' code divides by C*N and not by C*C*N:
    its weight 2.5 is ``loss_weight=2.5 * C`` here. 'softmax' is the channel attention of DANet (Fu
    et al., CVPR 2019, https://arxiv.org/abs/1809.02983). Channels must be equal; of two sizes the
    larger is average-pooled to the smaller.

    Args:
        form: One of the above. The scale of neither map counts in 'cosine', 'icc' and
            'pooled_unit'; in 'pooled_batch' the student's counts, relative to the teacher's;
            'softmax' and 'pooled' depend on both.
        power: Exponent on the absolute activations in 'pooled_unit', at least 1.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, ``form`` is unknown, or ``power``
            is below 1.

    Example:
        >>> import torch
        >>> loss = ChannelAttentionLoss()
        >>> loss(torch.eye(4).reshape(1, 4, 2, 2), torch.eye(4).reshape(1, 4, 2, 2)).item()
        0.0
    """

    equal_channels = True

    def __init__(self, form: str = "cosine", power: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        check_choice("form", form, (*_AFFINITIES, *_POOLED))
        check_power(power)
        self.form = form
        self.power = power

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare how the two networks relate channels.

        Args:
            student: Feature map (N, C, H, W).
            teacher: Feature map (N, C, H, W); no gradient flows into it.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If either is not 4-D, or if N or C differs.
        """
        student, teacher = match_sizes(student, teacher.detach())
        check_same_channels(student, teacher)
        wanted = self._attention(teacher)
        distance = F.mse_loss(self._attention(student), wanted)
        if self.form == "pooled_batch":
            energy = wanted.square().mean()
            distance = distance / torch.where(energy > 0, energy, 1.0)
        return self.loss_weight * distance

    def _attention(self, feature: Tensor) -> Tensor:
        if self.form == "pooled_unit":
            return unit_channels(feature, self.power)
        return _AFFINITIES.get(self.form, pooled_channels)(feature)
