"""Feature imitation: the student's layer reproduces the teacher's."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kd_core.attention import match_sizes
from kd_core.checks import check_same_batch, check_same_channels
from kd_core.losses.base import DistillationLoss


class FeatureImitationLoss(DistillationLoss):
    """Mean squared difference between two feature maps of equal channels (the hint of FitNets).

        loss = loss_weight * mean over all entries of (student - teacher)^2

    Romero, Ballas, Kahou, Chassang, Gatta and Bengio, "FitNets: Hints for Thin Deep Nets", ICLR
    2015, https://arxiv.org/abs/1412.6550. Status: the published formula, as a mean over all
    entries where Eq. 3 has half the sum; the paper's regressor is the connector here. Of two sizes
    the larger is average-pooled to the smaller.

    Args:
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite.

    Example:
        >>> import torch
        >>> FeatureImitationLoss()(torch.zeros(2, 8, 4, 4), torch.ones(2, 8, 4, 4)).item()
        1.0
    """

    equal_channels = True
    aligns_spaces = True

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare two maps, or two vectors, entry by entry.

        Args:
            student: Feature map (N, C, H, W) or vectors (N, C).
            teacher: Feature map (N, C, H, W) or vectors (N, C); no gradient flows into it.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If N or C differs, or if only one of the two is a feature map.
        """
        teacher = teacher.detach()
        if student.dim() == teacher.dim() == 2:
            check_same_batch(student, teacher)
        else:
            student, teacher = match_sizes(student, teacher)
        check_same_channels(student, teacher)
        return self.loss_weight * F.mse_loss(student.float(), teacher.float())
