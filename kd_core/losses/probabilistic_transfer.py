"""Probabilistic transfer: each sample is as likely to pick another as for the teacher."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_core.checks import check_same_batch, without_autocast
from kd_core.losses.base import RelationLoss
from kd_core.relations.gather import gather_pair
from kd_core.relations.samples import flat_rows

_EPSILON = 1e-7  # the authors'


class ProbabilisticTransferLoss(RelationLoss):
    """Divergence between two tables of probabilities that one sample picks another (PKT).

        q(x)[i, j] = (1 + cos(x_i, x_j)) / 2, each row scaled to sum 1      (N, N)
        loss = loss_weight * mean over i, j of q_T * log((q_T + 1e-7) / (q_S + 1e-7))

    Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", ECCV
    2018, https://arxiv.org/abs/1803.10837. Status: the authors' code, as RepDistiller has it, with
    usual weight 30000. A mean over N x N of rows that sum to 1: the loss falls as 1 / N, so scale
    the weight with the batch. Sizes may differ. Memory is N x N.

    Args:
        loss_weight: Factor on the returned loss.
        gather: Relate the samples of all ranks (:mod:`kd_core.relations.gather`). Without it,
            each rank relates its own batch: training with several GPUs is training with smaller
            batches.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite.

    Example:
        >>> import torch
        >>> ProbabilisticTransferLoss()(torch.eye(4), torch.eye(4)).item()
        0.0
    """

    def __init__(self, loss_weight: float = 30000.0, gather: bool = False) -> None:
        super().__init__(loss_weight, gather)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare the tables of a batch.

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
        found, wanted = _probabilities(student), _probabilities(teacher.detach())
        ratio = torch.log((wanted + _EPSILON) / (found + _EPSILON))
        return self.loss_weight * (wanted * ratio).mean()


def _probabilities(features: Tensor) -> Tensor:
    rows = flat_rows(features)
    rows = rows / (torch.linalg.vector_norm(rows, dim=1, keepdim=True) + _EPSILON)
    with without_autocast(rows):
        closeness: Tensor = (rows @ rows.t() + 1) / 2  # (N, N)
    return closeness / closeness.sum(dim=1, keepdim=True)
