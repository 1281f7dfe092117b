"""DML: networks of equal rank teach each other, from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import Tensor, nn

from kd_cls.methods.method import Batch
from kd_cls.methods.peers import (
    Output,
    PeerMethod,
    build_all,
    mean_over,
    peer_name,
    require_list,
)
from kd_core.checks import check_weights
from kd_core.losses import SoftTargetLoss


def DML(  # noqa: N802  a config names it as a type
    student: Mapping[str, Any],
    peers: Sequence[Mapping[str, Any]],
    temperature: float = 1.0,
    loss_weight: float = 1.0,
) -> nn.Module:
    """Build a student and its peers, and let them learn from each other.

    All start from different weights, the student from those that it would have alone.

    Args:
        student: Config of a :class:`kd_cls.Classifier`.
        peers: One such config for each peer, of equal or different architecture.
        temperature: Divisor of the logits, above 0.
        loss_weight: Weight of what a network learns from its peers.

    Returns:
        The student, with the method as its child ``distiller``.

    Raises:
        ValueError: If an option is wrong, there is no peer, or the networks do not fit.
    """
    configs = require_list(peers, "classifier configs")
    model: nn.Module = MODELS.build(ConfigDict(student))
    names = [peer_name(number, config) for number, config in enumerate(configs, start=1)]
    built = dict(zip(names, build_all(configs), strict=True))
    return MutualLearning(built, temperature, loss_weight).attach(model)


class MutualLearning(PeerMethod):
    """Every network learns from the labels and from the others' present predictions (DML).

        loss_k = CE(k) + loss_weight * mean over other networks j of KL_t(sg p_j || p_k)
        KL_t(a || b) = t^2 * mean over N of sum over classes of a log(a / b)

    The predictions are softmax(logits / t). With two networks the mean is that of one.

    Zhang, Xiang, Hospedales and Lu, "Deep Mutual Learning", CVPR 2018,
    https://arxiv.org/abs/1706.00384. Status: the published formula, with t = 1 and weight 1 as
    there. The paper's algorithm updates one network after another and predicts anew between them;
    here all are updated at once, from the same predictions.

    Args:
        peers: Name to classifier.
        temperature: Divisor t of the logits, above 0.
        loss_weight: Weight of what a network learns from its peers.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, ``temperature`` is not above 0,
            there is no peer or one is no classifier.
    """

    def __init__(
        self, peers: Mapping[str, nn.Module], temperature: float = 1.0, loss_weight: float = 1.0
    ) -> None:
        super().__init__(peers)
        check_weights(loss_weight=loss_weight)
        self.loss_weight = loss_weight
        self.mutual = SoftTargetLoss(temperature)

    def terms(
        self, number: int, own: Output, others: Sequence[Output], batch: Batch
    ) -> dict[str, Tensor]:
        """Compare a network's predictions with those of the others."""
        if not self.loss_weight:
            return {}
        mutual = mean_over(others, lambda other: self.mutual(own.logits, other.logits))
        return {"peers": self.loss_weight * mutual}
