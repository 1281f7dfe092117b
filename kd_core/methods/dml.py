"""DML (deep mutual learning): networks of equal rank teach each other, from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from kd_core.adapter import NetworkBuilder, TaskAdapter
from kd_core.checks import check_weights
from kd_core.losses.soft_target import SoftTargetLoss
from kd_core.methods.base import Batch
from kd_core.methods.peers import Output, PeerDistiller, mean_over


class DML(PeerDistiller):
    """Every network learns from the labels and from the others' present predictions.

        loss_k = own(k) + loss_weight * mean over other networks j of KL_t(sg p_j || p_k)
        KL_t(a || b) = t^2 * mean over N of sum over classes of a log(a / b)

    The predictions p are softmax(scores / t), own(k) is the network's cross-entropy or metric
    loss. Scores are logits; of networks that embed, the similarities of a sample with the others
    of the batch take the place of classes. With two networks the mean is that of one.

    Zhang, Xiang, Hospedales and Lu, "Deep Mutual Learning", CVPR 2018,
    https://arxiv.org/abs/1706.00384. Status: the published formula for classifiers, with t = 1 and
    weight 1 as there; on similarities it is ours. The paper's algorithm updates one network after
    another and predicts anew between them; here all are updated at once, from the same predictions.

    Args:
        peers: Name to network, or a list of them.
        temperature: Divisor t of the scores, above 0.
        loss_weight: Weight of what a network learns from its peers.
        adapter: The task; the default is that of plain classifiers.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, ``temperature`` is not above 0,
            there is no peer or one is none of the task.
    """

    def __init__(
        self,
        peers: Mapping[str, nn.Module] | Sequence[nn.Module],
        temperature: float = 1.0,
        loss_weight: float = 1.0,
        adapter: TaskAdapter | None = None,
    ) -> None:
        super().__init__(peers, adapter=adapter)
        check_weights(loss_weight=loss_weight)
        self.loss_weight = loss_weight
        self.mutual = SoftTargetLoss(temperature)

    @classmethod
    def from_config(
        cls,
        build: NetworkBuilder,
        peers: Sequence[Mapping[str, Any]],
        temperature: float = 1.0,
        loss_weight: float = 1.0,
    ) -> nn.Module:
        """Build a student and its peers, and let them learn from each other.

        All start from different weights, the student from those that it would have alone.

        Args:
            build: Builds networks.
            peers: The config of each peer, of equal or different architecture.
            temperature: Divisor of the scores, above 0.
            loss_weight: Weight of what a network learns from its peers.

        Returns:
            The student, with the method as its child ``distiller``.

        Raises:
            ValueError: If an option is wrong, there is no peer, or the networks do not fit.
        """
        student = build.student()
        return cls(build.peers(peers), temperature, loss_weight, build.adapter).attach(student)

    def terms(
        self, number: int, own: Output, others: Sequence[Output], batch: Batch
    ) -> dict[str, Tensor]:
        """Compare a network's predictions with those of the others."""
        if not self.loss_weight:
            return {}
        mutual = mean_over(others, lambda other: self.mutual(own.scores, other.scores))
        return {"peers": self.loss_weight * mutual}
