"""Pearson feature distillation (PKD): imitation after each channel is standardized."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kd_core.attention import match_sizes
from kd_core.checks import check_same_channels
from kd_core.losses.base import DistillationLoss
from kd_core.normalization import standardize


class PearsonFeatureLoss(DistillationLoss):
    """Half the mean squared difference between standardized feature maps.

        z(F) = (F - mean) / (std + 1e-6), both over N, H and W, for each channel
        loss = loss_weight * mean over all entries of (z(student) - z(teacher))^2 / 2

    This is 1 minus the Pearson correlation, up to the std of n - 1. Cao, Zhang, Gao, Cheng, Cheng
    and Zhang, "PKD: General Distillation Framework for Object Detectors via Pearson Correlation
    Coefficient", NeurIPS 2022, https://arxiv.org/abs/2207.02039. Status: the authors' code in
    mmrazor. Its usual weight for detectors is 6. Channels must be equal; of two sizes the larger is
    average-pooled to the smaller. Scale and offset of a student's channel do not matter. In a
    distributed run mean and std are those of each rank's own batch.

    Args:
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite.

    Example:
        >>> import torch
        >>> feature = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> round(PearsonFeatureLoss()(3 * feature + 1, feature).item(), 6)
        0.0
    """

    equal_channels = True

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare the two maps entry by entry, once standardized.

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
        return self.loss_weight * F.mse_loss(standardize(student), standardize(teacher)) / 2
