"""Channel distillation: each channel of the student is as active as the teacher's."""

from __future__ import annotations

from torch import Tensor

from kd_core.attention import channel_vectors
from kd_core.checks import check_same_batch, check_same_channels
from kd_core.losses.base import DistillationLoss


class ChannelDistillationLoss(DistillationLoss):
    """Mean squared difference between two globally pooled feature maps.

        loss = loss_weight * mean over N and C of (GAP(student) - GAP(teacher))^2

    Zhou, Zhuge, Guan and Liu, "Channel Distillation: Channel-Wise Attention for Knowledge
    Distillation", arXiv 2020, https://arxiv.org/abs/2006.01683. Status: authors' code, also in
    that of CCSKD (Gou et al., IEEE TCDS 2022), which gives it weight 6. Channels must be equal;
    sizes may differ.

    Args:
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite.

    Example:
        >>> import torch
        >>> ChannelDistillationLoss()(torch.zeros(2, 8, 4, 4), torch.ones(2, 8, 2, 2)).item()
        1.0
    """

    equal_channels = True

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare the mean activity of each channel.

        Args:
            student: Feature map (N, C, H_s, W_s), or pooled vectors (N, C).
            teacher: Feature map (N, C, H_t, W_t), or pooled vectors (N, C); no gradient flows
                into it.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If either is neither 2-D nor 4-D, or if N or C differs.
        """
        check_same_batch(student, teacher)
        check_same_channels(student, teacher)
        difference = channel_vectors(student) - channel_vectors(teacher.detach())  # (N, C)
        return self.loss_weight * difference.square().mean()
