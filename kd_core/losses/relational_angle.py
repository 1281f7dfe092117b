"""Relational angles: triplets of samples span the angles that they span for the teacher."""

from __future__ import annotations

from torch import Tensor

from kd_core.checks import check_same_batch
from kd_core.losses.base import RelationLoss
from kd_core.relations.gather import gather_pair
from kd_core.relations.samples import angle_difference


class RelationalAngleLoss(RelationLoss):
    """Smooth-L1 difference between the cosines of all triplet angles (RKD-A).

        R(x)[i, j, k] = <unit(x_j - x_i), unit(x_k - x_i)>                 (N, N, N)
        loss = loss_weight * mean over i, j, k of smooth_l1(R(student) - R(teacher))

    Park, Kim, Lu and Cho, "Relational Knowledge Distillation", CVPR 2019,
    https://arxiv.org/abs/1904.05068. Status: the authors' code, whose usual weight is 2 (1 for the
    distances), except that the direction between equal samples gets no gradient here, where the
    code gives it one of the order of 1e12. Translation, rotation and scale of the embeddings do not
    matter. A batch of one or two has no angles to compare: the loss is 0.

    The N^3 cosines are made tile by tile and the gradient in the same pass: memory is O(N^2 + N*D)
    and a tile, time O(N^3 D). Forward and backward at N = 1024 and D = 512 took 52 MB beyond the
    inputs and 41 seconds on one core. The gradient cannot be differentiated again.

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
        >>> RelationalAngleLoss()(embeddings, 2 * embeddings).item()
        0.0
    """

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare the angles within a batch.

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
        return self.loss_weight * angle_difference(student, teacher)
