"""Similarity preservation: samples that the teacher finds alike are alike for the student."""

from __future__ import annotations

from torch import Tensor

from kd_core.checks import check_same_batch
from kd_core.losses.base import RelationLoss
from kd_core.relations.gather import gather_pair
from kd_core.relations.samples import similarities


class SimilarityPreservingLoss(RelationLoss):
    """Squared difference between two similarity matrices of the batch.

        G(F) = A A^T with rows scaled to length 1, A = F flattened      (N, N)
        loss = loss_weight * sum over all entries of (G(student) - G(teacher))^2 / N^2

    Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019,
    https://arxiv.org/abs/1907.09682. Status: the published formula, as in the code in common use
    (RepDistiller), with usual weight 3000 at N = 64. Since each row of G has length 1, the loss
    falls as 1 / N: scale the weight with the batch. Student and teacher may differ in C, H and W.

    Args:
        loss_weight: Factor on the returned loss.
        gather: Relate the samples of all ranks (:mod:`kd_core.relations.gather`). Without it,
            each rank relates its own batch: training with several GPUs is training with smaller
            batches.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite.

    Example:
        >>> import torch
        >>> SimilarityPreservingLoss()(torch.eye(4), torch.eye(4)).item()
        0.0
    """

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare the similarities within a batch.

        Args:
            student: Feature map (N, C_s, H_s, W_s) or embeddings (N, D_s).
            teacher: Feature map (N, C_t, H_t, W_t) or embeddings (N, D_t); no gradient flows
                into it.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If either has fewer than two axes or is empty, or if N differs.
        """
        check_same_batch(student, teacher)
        student, teacher = gather_pair(student, teacher, self.gather)
        difference = similarities(student) - similarities(teacher.detach())  # (N, N)
        return self.loss_weight * difference.square().mean()
