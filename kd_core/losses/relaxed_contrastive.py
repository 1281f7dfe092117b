"""Relaxed contrastive: the teacher's similarities stand in for the labels of pairs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.checks import check_positive, check_same_batch
from kd_core.losses.base import RelationLoss
from kd_core.relations.gather import gather_pair
from kd_core.relations.samples import EPSILON, distances, flat_rows


class RelaxedContrastiveLoss(RelationLoss):
    """Contrastive loss on relative distances, with soft labels from the teacher.

        w[i, j] = exp(-||t_i - t_j||^2 / sigma), t = teacher embeddings of length 1
        d[i, j] = ||s_i - s_j|| / mean over j of ||s_i - s_j||
        loss = loss_weight * mean over i of sum over j != i of w d^2 + (1 - w) max(delta - d, 0)^2

    Kim, Kim, Cho and Kwak, "Embedding Transfer with Label Relaxation for Improved Metric Learning",
    CVPR 2021, https://arxiv.org/abs/2103.14908. Status: the authors' code, with which it agrees.
    The student's embeddings are taken as they are, not scaled to length 1; sizes may differ. The
    loss grows with N, and is not 0 where student and teacher are equal. Memory is N x N.

    Args:
        sigma: Width of the teacher's kernel, above 0.
        delta: Margin, in units of the mean distance, above 0.
        loss_weight: Factor on the returned loss.
        gather: Relate the samples of all ranks (:mod:`kd_core.relations.gather`). Without it,
            each rank relates its own batch: training with several GPUs is training with smaller
            batches.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, or sigma or delta is not above 0.

    Example:
        >>> import torch
        >>> round(RelaxedContrastiveLoss()(torch.eye(4), torch.eye(4)).item(), 4)
        0.7218
    """

    def __init__(
        self, sigma: float = 1.0, delta: float = 1.0, loss_weight: float = 1.0, gather: bool = False
    ) -> None:
        super().__init__(loss_weight, gather)
        check_positive(sigma=sigma, delta=delta)
        self.sigma = sigma
        self.delta = delta

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare all pairs of a batch.

        Args:
            student: Embeddings (N, D_s) or a feature map (N, C_s, H_s, W_s).
            teacher: Embeddings (N, D_t) or a feature map (N, C_t, H_t, W_t); no gradient flows
                into them.

        Returns:
            Scalar loss in float32; 0 for a batch of one.

        Raises:
            ValueError: If either has fewer than two axes or is empty, or if N differs.
        """
        check_same_batch(student, teacher)
        student, teacher = gather_pair(student, teacher, self.gather)
        targets = F.normalize(flat_rows(teacher.detach()), dim=1, eps=EPSILON)
        alike = torch.exp(-distances(targets).square() / self.sigma)  # (N, N)
        apart = distances(student)
        apart = apart / apart.mean(dim=1, keepdim=True).clamp(min=EPSILON)
        pull = alike * apart.square()
        push = (1 - alike) * F.relu(self.delta - apart).square()
        others = 1 - torch.eye(len(apart), device=apart.device)
        return self.loss_weight * ((pull + push) * others).sum(dim=1).mean()
