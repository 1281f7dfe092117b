"""CKD-MKT: pretrained peers transfer relations and predictions, and each recalls itself."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import Tensor, nn

from kd_cls.methods.method import LOGITS, Batch
from kd_cls.methods.peers import (
    Output,
    PeerMethod,
    build_all,
    classifier_config,
    mean_over,
    peer_name,
    require_list,
)
from kd_core.checkpoint.load import load_weights
from kd_core.checks import check_choice, check_weights
from kd_core.layers import LayerPath
from kd_core.losses import RelationalAngleLoss, RelationalDistanceLoss, SoftTargetLoss
from kd_core.teacher import FrozenTeacher
from kd_engine.build import build_trained

START = ("pretrained", "scratch")


@dataclass(frozen=True)
class TransferWeights:
    """The weights of CKD-MKT; see :class:`MultiKnowledgeTransfer`.

    Raises:
        ValueError: If one is negative or not finite.
    """

    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0
    beta1: float = 2.0
    beta2: float = 1.0
    relation_scale: float = 1.0

    def __post_init__(self) -> None:
        """Require weights."""
        check_weights(**asdict(self))


def CKDMKT(  # noqa: N802  a config names it as a type
    student: Mapping[str, Any],
    pretrained: Mapping[str, Any],
    peers: Sequence[Mapping[str, Any]],
    start: str = "pretrained",
    alpha: float = TransferWeights.alpha,
    beta: float = TransferWeights.beta,
    gamma: float = TransferWeights.gamma,
    beta1: float = TransferWeights.beta1,
    beta2: float = TransferWeights.beta2,
    relation_scale: float = TransferWeights.relation_scale,
    temperature: float = 4.0,
    layer: str | Sequence[str] = "network.pool",
    gather: bool = False,
) -> nn.Module:
    """Build phase 2: a student and its peers, each with a frozen copy from phase 1.

    Phase 1 trains each network alone; ``kdkit train CONFIG --with-teacher`` does what of it is
    missing, and then phase 2. A reference is ``dict(config=, checkpoint=, allow_partial=False,
    precision=None)``.

    Args:
        student: Config of a :class:`kd_cls.Classifier`.
        pretrained: Phase 1 of the student's network.
        peers: Phase 1 of each other network, of equal or different architecture.
        start: Where phase 2 begins: ``pretrained`` goes on from phase 1's weights, ``scratch``
            from fresh ones. The summary that this rests on does not tell; hence the option.
        alpha: Weight of the cross-entropy.
        beta: Weight of what peers transfer.
        gamma: Weight of self-distillation; 0 keeps no frozen copies.
        beta1: Weight of angles beside distances.
        beta2: Weight of the peers' predictions beside relations.
        relation_scale: Weight of relations; 25 makes them matter.
        temperature: Divisor of the logits in self-distillation, above 0.
        layer: Selector of the penultimate feature, the same for all networks, or a list: the
            student's first, then that of each peer. torchvision's ResNets have
            ``network.avgpool``.
        gather: Relate the samples of all ranks, not those of each alone.

    Returns:
        The student, with the method as its child ``distiller``.

    Raises:
        ValueError: If an option is wrong, there is no peer, two networks go on from one
            checkpoint, or the networks do not fit.
        kd_core.checkpoint.CheckpointError: If a checkpoint is unsafe, broken or does not fit.
    """
    check_choice("start", start, START)
    weights = TransferWeights(alpha, beta, gamma, beta1, beta2, relation_scale)
    references = [pretrained, *require_list(peers, "dict(config=, checkpoint=)")]
    model: nn.Module = MODELS.build(ConfigDict(student))
    first = _first_phase(references)
    if start == "pretrained":
        _require_own_checkpoints(references)
    copies = [FrozenTeacher(copy.deepcopy(one), precision=precision) for one, precision in first]
    load_weights(  # also from scratch, into a copy: it must be the same network
        model if start == "pretrained" else copy.deepcopy(model),
        copies[0].model.state_dict(),
        source=f"phase 1 of the student ({pretrained['checkpoint']})",
    )
    configs = [classifier_config(reference["config"]) for reference in references[1:]]
    trained = [one for one, _ in first[1:]] if start == "pretrained" else build_all(configs)
    named = {
        peer_name(*one): peer for one, peer in zip(enumerate(configs, 1), trained, strict=True)
    }
    method = MultiKnowledgeTransfer(named, copies, weights, temperature, layer, gather)
    return method.attach(model)


class MultiKnowledgeTransfer(PeerMethod):
    """Peers transfer relations and predictions; each network also recalls what it was (CKD-MKT).

        loss_k = alpha * CE(k) + gamma * KL_t(sg pbar_k || p_k)
                 + beta * mean over other networks j of
                   [relation_scale * (RKD_D + beta1 * RKD_A)(feature_k, sg feature_j)
                    + beta2 * KL_1(sg p_j || p_k)]
        KL_t(a || b) = t^2 * mean over N of sum over classes of a log(a / b)

    p_k is the present prediction of network k and pbar_k that of its frozen copy from phase 1,
    both softened by the temperature that the KL names. RKD_D and RKD_A are
    :class:`kd_core.losses.RelationalDistanceLoss` and ``RelationalAngleLoss``; features may differ
    in size. All networks are updated at once. A term of weight 0 is not computed.

    Gou, Sun, Yu, Wan and Tao, "Collaborative Knowledge Distillation via Multiknowledge Transfer",
    IEEE Transactions on Neural Networks and Learning Systems 35(5), 2024,
    https://arxiv.org/abs/2101.08471. Status: second-hand, the formula and the default weights are
    those of a third-party summary. It has two networks; the mean over more is ours. It does not
    tell whether phase 2 goes on from phase 1's weights: see ``start`` of :func:`CKDMKT`.

    Args:
        peers: Name to classifier.
        copies: The frozen copies from phase 1: the student's first, then that of each peer.
        weights: alpha, beta, gamma, beta1, beta2 and relation_scale.
        temperature: Divisor t of the logits in self-distillation, above 0.
        layer: Selector of the penultimate feature, the same for all networks, or a list.
        gather: Relate the samples of all ranks, not those of each alone.

    Raises:
        ValueError: If the temperature is not above 0, there is no peer, one is no classifier, a
            layer does not exist, or there is not one copy for each network.
    """

    def __init__(
        self,
        peers: Mapping[str, nn.Module],
        copies: Sequence[FrozenTeacher],
        weights: TransferWeights,
        temperature: float = 4.0,
        layer: str | Sequence[str] = "network.pool",
        gather: bool = False,
    ) -> None:
        relation = weights.beta * weights.relation_scale
        super().__init__(peers, layer if relation else LOGITS.text, weights.alpha)
        if len(copies) != 1 + len(peers):
            raise ValueError(
                f"there must be a frozen copy of each of {1 + len(peers)} networks, the student's "
                f"first, but there are {len(copies)}."
            )
        self.weights = weights
        self.relation_weight, self.mutual_weight = relation, weights.beta * weights.beta2
        if weights.gamma:
            whose = ["student", *self.names]
            self.teachers = {
                f"the pretrained {name}": one for name, one in zip(whose, copies, strict=True)
            }
        self.distance, self.angle = (
            RelationalDistanceLoss(gather=gather),
            RelationalAngleLoss(gather=gather),
        )
        self.mutual, self.recall = SoftTargetLoss(1.0), SoftTargetLoss(temperature)

    def teacher_layers(self, iteration: int) -> dict[str, list[LayerPath]]:
        """Ask each frozen copy for its logits."""
        return {name: [LOGITS] for name in self.teachers}

    def terms(
        self, number: int, own: Output, others: Sequence[Output], batch: Batch
    ) -> dict[str, Tensor]:
        """Compare a network with the others, and with what it was."""
        found = {}
        if self.relation_weight:
            relation = mean_over(others, lambda other: self._relation(own.feature, other.feature))
            found["relation"] = self.relation_weight * relation
        if self.mutual_weight:
            mutual = mean_over(others, lambda other: self.mutual(own.logits, other.logits))
            found["peers"] = self.mutual_weight * mutual
        if self.weights.gamma:
            (before,) = batch.teacher_outputs[list(self.teachers)[number]]
            found["self"] = self.weights.gamma * self.recall(own.logits, before)
        return found

    def _relation(self, own: Tensor, other: Tensor) -> Tensor:
        relation: Tensor = self.distance(own, other)
        if self.weights.beta1:
            relation = relation + self.weights.beta1 * self.angle(own, other)
        return relation


def _first_phase(
    references: Sequence[Mapping[str, Any]],
) -> list[tuple[nn.Module, torch.dtype | None]]:
    """Build what phase 1 has trained: the student's network, then each peer."""
    with torch.random.fork_rng(devices=[]):
        built = []
        for number, reference in enumerate(references):
            torch.rand(())  # so that networks without a checkpoint differ
            built.append(
                build_trained(reference, f"peers.{number - 1}" if number else "pretrained")
            )
    return built


def _require_own_checkpoints(references: Sequence[Mapping[str, Any]]) -> None:
    named = Counter(one["checkpoint"] for one in references if one["checkpoint"] is not None)
    twice = [path for path, count in named.items() if count > 1]
    if twice:
        raise ValueError(
            "networks that go on from the same weights stay equal and teach each other nothing, "
            f"but {', '.join(twice)} is named more than once. Train phase 1 of each network with a "
            "seed of its own (--cfg-options randomness.seed=1 --work-dir FOLDER), or take "
            "start='scratch'."
        )
