"""Correlation congruence: a Gaussian kernel of the batch is that of the teacher."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.checks import check_positive, check_same_batch, without_autocast
from kd_core.losses.base import RelationLoss
from kd_core.relations.gather import gather_pair
from kd_core.relations.samples import EPSILON, flat_rows


class CorrelationCongruenceLoss(RelationLoss):
    """Squared difference between two kernel matrices of unit embeddings (CC).

        C(x)[i, j] = exp(-2 gamma) * sum over p <= order of (2 gamma)^p / p! * <u_i, u_j>^p
        u = x scaled to length 1
        loss = loss_weight * mean over i, j of (C(student) - C(teacher))^2

    The sum is the Taylor series of the kernel exp(-gamma ||u_i - u_j||^2). Peng et al.,
    "Correlation Congruence for Knowledge Distillation", ICCV 2019,
    https://arxiv.org/abs/1904.01802. Status: the published formula, as in the code in common use
    (Knowledge-Distillation-Zoo). The paper has the kernel of the two networks' logits or
    embeddings; sizes may differ. Memory is N x N.

    Args:
        gamma: Sharpness of the kernel, above 0.
        order: Last power of the series, at least 1.
        loss_weight: Factor on the returned loss.
        gather: Relate the samples of all ranks (:mod:`kd_core.relations.gather`). Without it,
            each rank relates its own batch: training with several GPUs is training with smaller
            batches.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, or gamma or order is out of range.

    Example:
        >>> import torch
        >>> CorrelationCongruenceLoss()(torch.eye(4), 3 * torch.eye(4)).item()
        0.0
    """

    def __init__(
        self, gamma: float = 0.4, order: int = 2, loss_weight: float = 1.0, gather: bool = False
    ) -> None:
        super().__init__(loss_weight, gather)
        check_positive(gamma=gamma)
        if order < 1:
            raise ValueError(f"order must be at least 1, but it is {order}.")
        self.gamma = gamma
        self.order = order

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare the kernels of a batch.

        Args:
            student: Embeddings (N, D_s) or a feature map (N, C_s, H_s, W_s).
            teacher: Embeddings (N, D_t) or a feature map (N, C_t, H_t, W_t); no gradient flows
                into them.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If either has fewer than two axes or is empty, or if N differs.
        """
        check_same_batch(student, teacher)
        student, teacher = gather_pair(student, teacher, self.gather)
        return self.loss_weight * F.mse_loss(self._kernel(student), self._kernel(teacher.detach()))

    def _kernel(self, features: Tensor) -> Tensor:
        units = F.normalize(flat_rows(features), dim=1, eps=EPSILON)
        with without_autocast(units):
            cosines = units @ units.t()  # (N, N)
        kernel = torch.ones_like(cosines)
        for power in range(1, self.order + 1):
            kernel = kernel + (2 * self.gamma) ** power / math.factorial(power) * cosines**power
        return math.exp(-2 * self.gamma) * kernel
