"""DarkRank: a sample's nearest neighbors are ranked as the teacher ranks them."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from kd_core.checks import check_choice, check_positive, check_same_batch
from kd_core.losses.base import RelationLoss
from kd_core.relations.gather import gather_pair
from kd_core.relations.samples import distances


class DarkRankLoss(RelationLoss):
    """Likelihood of the teacher's ranking of the nearest samples of a batch.

        S(x)[i, j] = -alpha * ||x_i - x_j||_2^beta
        log P(order) = sum over k of (S[order_k] - log sum over l >= k of exp(S[order_l]))
        hard: loss = loss_weight * mean over i of -log P_S(the teacher's order)
        soft: loss = loss_weight * mean over i of KL(P_T || P_S) over all orders
        both on the teacher's ``length`` nearest samples of i

    Chen, Wang and Zhang, "DarkRank: Accelerating Deep Metric Learning via Cross Sample Similarities
    Transfer", AAAI 2018, https://arxiv.org/abs/1707.01220. Status: hard, the code of RKD's authors,
    with which it agrees; soft, the published formula on the same neighbors. The embeddings are
    taken as they are: scale them to length 1, or choose alpha for their size. Memory is N x N, soft
    N x length! x length. Where a batch has fewer samples, the lists are shorter.

    Args:
        form: 'hard' or 'soft'.
        alpha: Factor on the distances' powers, above 0.
        beta: Power of the distances, at least 1.
        length: Neighbors in a list, 2 to 6 for 'soft' (720 orders), 1 or more for 'hard'.
        loss_weight: Factor on the returned loss.
        gather: Relate the samples of all ranks (:mod:`kd_core.relations.gather`). Without it,
            each rank relates its own batch: training with several GPUs is training with smaller
            batches.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, or the form is unknown or a number
            out of range.

    Example:
        >>> import torch
        >>> DarkRankLoss("soft")(torch.eye(4), torch.eye(4)).item()
        0.0
    """

    def __init__(
        self,
        form: str = "hard",
        alpha: float = 3.0,
        beta: float = 3.0,
        length: int = 4,
        loss_weight: float = 1.0,
        gather: bool = False,
    ) -> None:
        super().__init__(loss_weight, gather)
        check_choice("form", form, ("hard", "soft"))
        check_positive(alpha=alpha, beta=beta)
        if beta < 1:
            raise ValueError(f"beta must be at least 1, but it is {beta}.")
        if length < 1 or (form == "soft" and not 2 <= length <= 6):
            raise ValueError(
                f"length must be at least 1, and 2 to 6 for form='soft', but it is {length}."
            )
        self.form = form
        self.alpha = alpha
        self.beta = beta
        self.length = length

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare the rankings of a batch.

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
        found, wanted = self._scores(student), self._scores(teacher.detach())  # (N, N)
        itself = torch.eye(len(wanted), dtype=torch.bool, device=wanted.device)
        length = min(self.length, len(wanted) - 1)
        nearest = wanted.masked_fill(itself, -torch.inf).topk(length, dim=1).indices
        lists = found.gather(1, nearest)  # (N, L), the teacher's nearest first
        if self.form == "hard":
            return -self.loss_weight * _log_likelihood(lists).mean()
        orders = torch.tensor(list(permutations(range(length))), dtype=torch.int64).to(lists.device)
        ours = _log_likelihood(lists[:, orders])  # (N, L!)
        theirs = _log_likelihood(wanted.gather(1, nearest)[:, orders])
        return self.loss_weight * (theirs.exp() * (theirs - ours)).sum(dim=1).mean()

    def _scores(self, features: Tensor) -> Tensor:
        return -self.alpha * distances(features).pow(self.beta)


def _log_likelihood(scores: Tensor) -> Tensor:
    """Log-likelihood (...) of the orders in which scores (..., L) stand."""
    left = torch.logcumsumexp(scores.flip(-1), dim=-1).flip(-1)  # of those not yet ranked
    return (scores - left).sum(dim=-1)
