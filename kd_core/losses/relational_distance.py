"""Relational distances: pairs of samples lie as far apart as for the teacher."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kd_core.checks import check_same_batch
from kd_core.losses.base import RelationLoss
from kd_core.relations.gather import gather_pair
from kd_core.relations.samples import relative_distances


class RelationalDistanceLoss(RelationLoss):
    """Smooth-L1 difference between two matrices of relative distances (RKD-D).

        R(x)[i, j] = ||x_i - x_j||_2 / mean of all positive distances      (N, N)
        loss = loss_weight * mean over i, j of smooth_l1(R(student) - R(teacher))

    Park, Kim, Lu and Cho, "Relational Knowledge Distillation", CVPR 2019,
    https://arxiv.org/abs/1904.05068. Status: the authors' code, whose usual weight is 1 (2 for the
    angles), except that equal samples have distance 0 here, where the code has 1e-6. Translation,
    rotation and scale of the embeddings do not matter. A batch of one has no pairs: the loss is 0.

    Args:
        loss_weight: Factor on the returned loss.
        gather: Relate the samples of all ranks (:mod:`kd_core.relations.gather`). Without it,
            each rank relates its own batch: training with several GPUs is training with smaller
            batches.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite.

    Example:
        >>> import torch
        >>> embeddings = torch.eye(4)
        >>> RelationalDistanceLoss()(embeddings, 3 * embeddings + 1).item()
        0.0
    """

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare the distances within a batch.

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
        targets = relative_distances(teacher.detach())  # (N, N)
        return self.loss_weight * F.smooth_l1_loss(relative_distances(student), targets)
