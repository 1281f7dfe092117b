"""CKD-MKT: pretrained peers teach each other, and each learns from its earlier self."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from kd_core.checkpoint.load import load_weights
from kd_core.checks import check_choice, check_positive, check_weights
from kd_core.layers import LayerPath
from kd_core.losses.relational_angle import RelationalAngleLoss
from kd_core.losses.relational_distance import RelationalDistanceLoss
from kd_core.losses.soft_target import SoftTargetLoss
from kd_core.methods.adapter import NetworkBuilder, TaskAdapter
from kd_core.methods.base import Batch
from kd_core.methods.dml import Output, PeerDistiller, mean_over
from kd_core.teacher import FrozenTeacher

START = ("pretrained", "scratch")


@dataclass(frozen=True)
class TransferWeights:
    """The weights and options of :class:`CKDMKT`.

    ``temperature`` is the divisor of the scores in self-distillation; ``gather`` relates the
    samples of all ranks, not those of each alone.

    Raises:
        ValueError: If a weight is negative or not finite, or the temperature is not above 0.
    """

    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0
    beta1: float = 2.0
    beta2: float = 1.0
    relation_scale: float = 1.0
    temperature: float = 4.0
    gather: bool = False

    def __post_init__(self) -> None:
        """Require weights."""
        check_positive(temperature=self.temperature)
        numbers = {key: value for key, value in asdict(self).items() if key != "gather"}
        check_weights(**numbers)


class CKDMKT(PeerDistiller):
    """Peers transfer relations and predictions; each network also learns from its earlier self.

        loss_k = alpha * own(k) + gamma * KL_t(sg pbar_k || p_k)
                 + beta * mean over other networks j of
                   [relation_scale * (RKD_D + beta1 * RKD_A)(feature_k, sg feature_j)
                    + beta2 * KL_1(sg p_j || p_k)]
        KL_t(a || b) = t^2 * mean over N of sum over classes of a log(a / b)

    own(k) is the network's cross-entropy or metric loss, p_k its present prediction
    softmax(scores / t) and pbar_k that of its frozen copy from phase 1. Scores are logits; of
    networks that embed, the similarities of a sample with the others of the batch take the place
    of classes. RKD_D and RKD_A are
    :class:`kd_core.losses.RelationalDistanceLoss` and ``RelationalAngleLoss``; features may differ
    in size. All networks are updated at once. A term of weight 0 is not computed.

    Gou, Sun, Yu, Wan and Tao, "Collaborative Knowledge Distillation via Multiknowledge Transfer",
    IEEE Transactions on Neural Networks and Learning Systems 35(5), 2024,
    https://arxiv.org/abs/2101.08471. Status: second-hand, the formula and the default weights are
    those of a third-party summary. It has two networks that classify; the mean over more, and
    predictions of networks that embed, are ours. It does not say whether phase 2 starts from
    phase 1's weights: see ``start`` of :meth:`from_config`.

    Args:
        peers: Name to network, or a list of them.
        copies: The frozen copies from phase 1: the student's first, then that of each peer.
        weights: alpha, beta, gamma, beta1, beta2, relation_scale, temperature and gather.
        layer: Selector of the feature that is related, the same for all networks, or a list;
            ``None`` takes the task's.
        adapter: The task; the default is that of plain classifiers.

    Raises:
        ValueError: If there is no peer, one is not of the task, a layer does not exist, or there
            is not one copy for each network.
    """

    def __init__(
        self,
        peers: Mapping[str, nn.Module] | Sequence[nn.Module],
        copies: Sequence[FrozenTeacher],
        weights: TransferWeights | None = None,
        layer: str | Sequence[str] | None = None,
        adapter: TaskAdapter | None = None,
    ) -> None:
        weights = weights or TransferWeights()
        adapter = adapter or TaskAdapter()
        relation = weights.beta * weights.relation_scale
        compared = (layer or adapter.feature) if relation else adapter.output
        super().__init__(peers, compared, weights.alpha, adapter)
        self.weights = weights
        if len(copies) != 1 + len(peers):
            raise ValueError(
                f"there must be a frozen copy of each of {1 + len(peers)} networks, the student's "
                f"first, but there are {len(copies)}."
            )
        self.relation_weight, self.mutual_weight = relation, weights.beta * weights.beta2
        if weights.gamma:
            whose = ["student", *self.names]
            self.teachers = {
                f"the pretrained {name}": one for name, one in zip(whose, copies, strict=True)
            }
        self.distance = RelationalDistanceLoss(gather=weights.gather)
        self.angle = RelationalAngleLoss(gather=weights.gather)
        self.mutual, self.recall = SoftTargetLoss(1.0), SoftTargetLoss(weights.temperature)

    @classmethod
    def from_config(
        cls,
        build: NetworkBuilder,
        pretrained: Mapping[str, Any],
        peers: Sequence[Mapping[str, Any]],
        start: str = "pretrained",
        alpha: float = TransferWeights.alpha,
        beta: float = TransferWeights.beta,
        gamma: float = TransferWeights.gamma,
        beta1: float = TransferWeights.beta1,
        beta2: float = TransferWeights.beta2,
        relation_scale: float = TransferWeights.relation_scale,
        temperature: float = TransferWeights.temperature,
        layer: str | Sequence[str] | None = None,
        gather: bool = TransferWeights.gather,
    ) -> nn.Module:
        """Build phase 2: a student and its peers, each with a frozen copy from phase 1.

        Phase 1 trains each network alone; ``kdkit train CONFIG --with-teacher`` does what of it
        is missing, and then phase 2. A reference is ``dict(config=, checkpoint=,
        allow_partial=False, precision=None)``.

        Args:
            build: Builds networks.
            pretrained: Phase 1 of the student's network.
            peers: Phase 1 of each other network, of equal or different architecture.
            start: Where phase 2 begins: ``pretrained`` from phase 1's weights, ``scratch`` from
                fresh ones. The summary that this rests on does not say; hence the option.
            alpha: Weight of each network's own loss.
            beta: Weight of the transfer between peers.
            gamma: Weight of self-distillation; 0 keeps no frozen copies.
            beta1: Weight of angles relative to distances.
            beta2: Weight of the peers' predictions relative to relations.
            relation_scale: Weight of relations; 25 makes them matter.
            temperature: Divisor of the scores in self-distillation, above 0.
            layer: Selector of the feature that is related, the same for all networks, or a list:
                the student's first, then that of each peer. ``None`` takes the task's:
                ``network.pool`` of a classifier (torchvision's ResNets have ``network.avgpool``),
                ``embedding`` of an embedder.
            gather: Relate the samples of all ranks, not those of each alone.

        Returns:
            The student, with the method as its child ``distiller``.

        Raises:
            ValueError: If an option is wrong, there is no peer, two networks start from one
                checkpoint, or the networks do not fit.
            kd_core.checkpoint.CheckpointError: If a checkpoint is unsafe, broken or does not fit.
        """
        check_choice("start", start, START)
        weights = TransferWeights(
            alpha, beta, gamma, beta1, beta2, relation_scale, temperature, gather
        )
        configs = build.configs_of(peers)
        references = [pretrained, *peers]
        student = build.student()
        first = build.trained_peers(references)
        if start == "pretrained":
            _require_own_checkpoints(references)
        copies = [FrozenTeacher(copy.deepcopy(one), precision=kind) for one, kind in first]
        load_weights(  # also from scratch, into a copy: it must be the same network
            student if start == "pretrained" else copy.deepcopy(student),
            copies[0].model.state_dict(),
            source=f"phase 1 of the student ({pretrained['checkpoint']})",
        )
        names, networks = build.names_of(configs), [one for one, _ in first[1:]]
        ready = dict(zip(names, networks, strict=True))
        learners = build.peers(configs) if start == "scratch" else ready
        return cls(learners, copies, weights, layer, build.adapter).attach(student)

    def teacher_layers(self, iteration: int) -> dict[str, list[LayerPath]]:
        """Return the layers of the frozen copies that are read: their logits."""
        return {name: [self.output] for name in self.teachers}

    def terms(
        self, number: int, own: Output, others: Sequence[Output], batch: Batch
    ) -> dict[str, Tensor]:
        """Compare a network with the others, and with its earlier self."""
        found = {}
        if self.relation_weight:
            relation = mean_over(others, lambda other: self._relation(own.feature, other.feature))
            found["relation"] = self.relation_weight * relation
        if self.mutual_weight:
            mutual = mean_over(others, lambda other: self.mutual(own.scores, other.scores))
            found["peers"] = self.mutual_weight * mutual
        if self.weights.gamma:
            (before,) = batch.teacher_outputs[list(self.teachers)[number]]
            found["self"] = self.weights.gamma * self.recall(
                own.scores, self.adapter.scores(before)
            )
        return found

    def _relation(self, own: Tensor, other: Tensor) -> Tensor:
        relation: Tensor = self.distance(own, other)
        if self.weights.beta1:
            relation = relation + self.weights.beta1 * self.angle(own, other)
        return relation


def _require_own_checkpoints(references: Sequence[Mapping[str, Any]]) -> None:
    named = [one["checkpoint"] for one in references if one["checkpoint"] is not None]
    twice = sorted({path for path in named if named.count(path) > 1})
    if twice:
        raise ValueError(
            "networks that start from the same weights stay equal and teach each other nothing, "
            f"but {', '.join(twice)} is named more than once. Train phase 1 of each network with a "
            "seed of its own (--cfg-options randomness.seed=1 --work-dir FOLDER), or take "
            "start='scratch'."
        )
