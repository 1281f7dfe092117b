"""Channel attention: the student relates channels as the teacher relates them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kd_core.attention import (
    channel_attention,
    channel_correlation,
    channel_softmax_attention,
    match_sizes,
    pooled_channels,
)
from kd_core.checks import check_choice, check_same_channels
from kd_core.losses.base import DistillationLoss

_FORMS = {
    "cosine": channel_attention,
    "icc": channel_correlation,
    "softmax": channel_softmax_attention,
    "pooled": pooled_channels,
}


class ChannelAttentionLoss(DistillationLoss):
    """Mean squared difference between two channel attentions.

        X    = F as C rows and P = H*W columns
        loss = loss_weight * mean over N and all entries of (G(student) - G(teacher))^2
        cosine:   G = Xb Xb^T, Xb = rows of X scaled to length 1            (N, C, C)
        icc:      G = rows of X X^T scaled to length 1                      (N, C, C)
        softmax:  G = softmax(max - X X^T) over the last axis               (N, C, C)
        pooled:   G = mean of X over positions                              (N, C)

    The high-level part of HMAT: Gou, Sun, Yu, Wan and Tao, "Hierarchical Multi-Attention Transfer
    for Knowledge Distillation", ACM TOMM 20(2), 2023, https://doi.org/10.1145/3568679. Status:
    reconstruction, since only the abstract is readable. 'icc' is the relation of ICKD (Liu et al.,
    "Exploring Inter-Channel Correlation for Diversity-Preserved Knowledge Distillation", ICCV
    2021, https://arxiv.org/abs/2202.03680), whose authors' code divides by C*N and not by C*C*N:
    its weight 2.5 is ``loss_weight=2.5 * C`` here. 'softmax' is the channel attention of DANet (Fu
    et al., CVPR 2019, https://arxiv.org/abs/1809.02983). Channels must be equal; of two sizes the
    larger is average-pooled to the smaller.

    Args:
        form: 'cosine', 'icc', 'softmax' or 'pooled'. The last two depend on a feature map's scale.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, or ``form`` is unknown.

    Example:
        >>> import torch
        >>> loss = ChannelAttentionLoss()
        >>> loss(torch.eye(4).reshape(1, 4, 2, 2), torch.eye(4).reshape(1, 4, 2, 2)).item()
        0.0
    """

    equal_channels = True

    def __init__(self, form: str = "cosine", loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        check_choice("form", form, _FORMS)
        self.form = form

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
        attention = _FORMS[self.form]
        return self.loss_weight * F.mse_loss(attention(student), attention(teacher))
