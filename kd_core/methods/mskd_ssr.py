"""MSKD-SSR: every stage learns from the teacher's, and the stages from one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.checks import check_choice, check_feature_map, check_positive, check_weights
from kd_core.connectors import Connector
from kd_core.layers import LayerPath
from kd_core.losses.channel_distillation import ChannelDistillationLoss
from kd_core.losses.soft_target import SoftTargetLoss
from kd_core.methods.adapter import NetworkBuilder, TaskAdapter
from kd_core.methods.base import Batch
from kd_core.methods.heads import HeadedClassifier, heads_for
from kd_core.methods.stages import StagesDistiller, require_as_many
from kd_core.teacher import FrozenTeacher

REVIEWS = ("adjacent", "deepest", "forward")
_TEACHER = "the teacher"


@dataclass(frozen=True)
class ReflectionWeights:
    """Weights and options of :class:`MSKDSSR`.

    Attributes:
        c: Weight of each stage's cross-entropy, from shallow to deep; ``None`` takes 1 for the
            last and 1 / (K - 1) for each other.
        a: Weight of channel distillation.
        b: Weight of response distillation.
        g: Weight of the review.
        temperature: Divisor t of logits, of both the responses and the review.
        review: Stage that a stage learns from: ``adjacent``, the next one; ``deepest``, the last;
            ``forward``, the one before it.

    Raises:
        ValueError: If a weight is negative or not finite, the temperature is not above 0, or the
            review is unknown.
    """

    c: Sequence[float] | None = None
    a: float = 6.0
    b: float = 1.0
    g: float = 0.3
    temperature: float = 4.0
    review: str = "adjacent"

    def __post_init__(self) -> None:
        check_choice("review", self.review, REVIEWS)
        check_weights(a=self.a, b=self.b, g=self.g)
        check_positive(temperature=self.temperature)
        check_weights(**{f"c[{number}]": weight for number, weight in enumerate(self.c or ())})

    def of_stages(self, count: int) -> list[float]:
        """Return the weight of each of so many stages' cross-entropy.

        Raises:
            ValueError: If there are more or fewer weights than stages.
        """
        if self.c is None:
            return [1 / (count - 1)] * (count - 1) + [1.0]
        if len(self.c) != count:
            raise ValueError(
                f"c must have a weight for each of the {count} stages, but it has {len(self.c)}: "
                f"{list(self.c)}."
            )
        return list(self.c)


class MSKDSSR(StagesDistiller):
    """Each stage learns from labels, the teacher's stage, and another of the student's stages.

        loss = sum over i of c_i * CE(z_i)
               + a * sum over i of mean over N and C of (GAP(conn_i(F_i)) - GAP(F_i of teacher))^2
               + b / K * sum over i of KL_t(z_i of teacher || z_i)
               + g / (K - 1) * sum over i < K of review_i
        review_i = KL_t(sg z_{i+1} || z_i)  adjacent
                   KL_t(sg z_K || z_i)      deepest
                   KL_t(sg z_i || z_{i+1})  forward

    K stages; z_K are the network's logits, CE(z_K) is its own loss and z_i those of a
    :class:`kd_core.methods.heads.StageHead`; sg stops the gradient; KL_t has the factor t^2 and the
    mean over N of :class:`kd_core.losses.SoftTargetLoss`. conn_i is a connector where channels
    differ, nothing elsewhere. Heads and connectors train with the student and are never exported;
    the teacher's heads are trained before, by :class:`kd_core.methods.TeacherHeads`.

    Gou, Xiong, Yu, Du, Zhan and Tao, "Multi-target Knowledge Distillation via Student
    Self-reflection", IJCV 131(7), 2023, https://doi.org/10.1007/s11263-023-01792-z. Status: our
    reconstruction. Stage-wise channels and responses and a review among the student's own stages
    are the paper's; the heads, the direction of the review and all weights are ours.

    Args:
        teacher: The frozen teacher, of a :class:`kd_core.methods.heads.HeadedClassifier`.
        weights: Weights, temperature and kind of review.
        layers: Selectors of the student's layers; ``None`` takes its stages.
        adapter: The task; the default is that of plain classifiers.

    Raises:
        ValueError: If the teacher has no heads.
    """

    needs_example = True

    def __init__(
        self,
        teacher: FrozenTeacher,
        weights: ReflectionWeights | None = None,
        layers: Sequence[str] | None = None,
        adapter: TaskAdapter | None = None,
    ) -> None:
        super().__init__(layers, {_TEACHER: teacher}, adapter)
        self.layers_of_teacher = _require_headed(teacher.model).layers
        self.weights = weights or ReflectionWeights()
        self.channel = ChannelDistillationLoss()
        self.response = SoftTargetLoss(self.weights.temperature)
        self.heads = nn.ModuleList()
        self.connectors = nn.ModuleList()
        self.entropy_weights: list[float] = []  # of each stage

    @classmethod
    def from_config(
        cls,
        build: NetworkBuilder,
        teacher: Mapping[str, Any],
        c: Sequence[float] | None = None,
        a: float = ReflectionWeights.a,
        b: float = ReflectionWeights.b,
        g: float = ReflectionWeights.g,
        temperature: float = ReflectionWeights.temperature,
        review: str = ReflectionWeights.review,
        layers: Sequence[str] | None = None,
        teacher_layers: Sequence[str] | None = None,
    ) -> nn.Module:
        """Build a student and its teacher with trained heads, and attach the teacher.

        Args:
            build: Builds networks.
            teacher: ``dict(config=, checkpoint=, allow_partial=False, precision=None)`` of a
                :class:`kd_core.methods.TeacherHeads`.
            c: Weight of each stage's cross-entropy, from shallow to deep; ``None`` takes 1 for the
                last of K stages and 1 / (K - 1) for each other.
            a: Weight of channel distillation.
            b: Weight of response distillation.
            g: Weight of the review.
            temperature: Divisor of logits, of both the responses and the review.
            review: Stage that a stage learns from: ``adjacent``, ``deepest`` or ``forward``.
            layers: Selectors of the student's layers; ``None`` takes its stages.
            teacher_layers: Those of the teacher, as many.

        Returns:
            The student, with the method as its child ``distiller``.

        Raises:
            ValueError: If an option is wrong, networks or layers do not fit, or the checkpoint has
                no heads.
            kd_core.checkpoint.CheckpointError: If the teacher's checkpoint is unsafe, broken or
                does not fit.
        """
        weights = ReflectionWeights(c, a, b, g, temperature, review)
        student = build.student()
        headed, precision = HeadedClassifier.from_config(build, teacher, teacher_layers)
        frozen = FrozenTeacher(headed, precision=precision)
        return cls(frozen, weights, layers, build.adapter).attach(student)

    def prepare(self, images: Tensor, output: Tensor, features: list[Tensor]) -> None:
        """Make the student's heads, and connectors where channels differ."""
        require_as_many({"student": features, _TEACHER: self.layers_of_teacher})
        self.heads = heads_for(features, output.shape[1])
        self.entropy_weights = self.weights.of_stages(len(features))
        wanted, _ = self._split(self.run_teacher(_TEACHER, images, self._wanted()))
        for number, feature in enumerate(wanted, start=1):
            check_feature_map(feature, f"the teacher's stage {number}")
        self.connectors = nn.ModuleList(
            _connector(*pair) for pair in zip(features, wanted, strict=True)
        )

    def teacher_layers(self, iteration: int) -> dict[str, list[LayerPath]]:
        """Return the teacher's layers that are read: maps and logits of its stages."""
        return {_TEACHER: self._wanted()} if self.weights.a or self.weights.b else {}

    def compare(self, batch: Batch) -> dict[str, Tensor]:
        """Compare each stage with the labels, the teacher's and another of the student's."""
        weights, count = self.weights, len(batch.features)
        stages = self._logits(batch)
        losses = self._entropies(batch, stages)
        if weights.a or weights.b:
            features, logits = self._split(batch.teacher_outputs[_TEACHER])
            if weights.a:
                pairs = zip(self.connectors, batch.features, features, strict=True)
                found = [self.channel(connect(own), other) for connect, own, other in pairs]
                losses["loss_channel"] = weights.a * torch.stack(found).sum()
            if weights.b:
                losses["loss_response"] = weights.b / count * self._follow(stages, logits)
        if weights.g:
            losses["loss_review"] = weights.g / (count - 1) * self._follow(*self._review(stages))
        return losses

    def _logits(self, batch: Batch) -> list[Tensor]:
        """Return the logits (N, classes) of each stage; only of the last if no other counts."""
        if not (any(self.entropy_weights[:-1]) or self.weights.b or self.weights.g):
            return [batch.output]
        pairs = zip(self.heads, batch.features, strict=False)  # the last stage has no head
        return [*(head(feature)[1] for head, feature in pairs), batch.output]

    def _entropies(self, batch: Batch, stages: Sequence[Tensor]) -> dict[str, Tensor]:
        *earlier, last = self.entropy_weights
        found = {} if last == 1 else {self.adapter.loss: last * batch.task[self.adapter.loss]}
        for number, (weight, logits) in enumerate(zip(earlier, stages, strict=False), start=1):
            if weight:
                entropy = F.cross_entropy(logits.float(), batch.labels)
                found[f"loss_head{number}_ce"] = weight * entropy
        return found

    def _wanted(self) -> list[LayerPath]:
        count = len(self.layers_of_teacher)
        names = [f"classifier.{layer.text}" for layer in self.layers_of_teacher]
        names += [f"heads.{number}[1]" for number in range(count - 1)] + [
            f"classifier.{self.output.text}"
        ]
        return [LayerPath.parse(name) for name in names]

    def _split(self, answer: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the teacher's maps and logits, one of each for each stage."""
        count = len(self.layers_of_teacher)
        return answer[:count], answer[count:]

    def _review(self, stages: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Return the logits of stages that learn, and of those that they learn from."""
        if self.weights.review == "forward":
            return stages[1:], stages[:-1]
        if self.weights.review == "deepest":
            return stages[:-1], [stages[-1]] * (len(stages) - 1)
        return stages[:-1], stages[1:]

    def _follow(self, learners: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        pairs = zip(learners, targets, strict=True)
        return torch.stack([self.response(*pair) for pair in pairs]).sum()

    def _meet(self, student: nn.Module, name: str, network: nn.Module) -> None:
        super()._meet(student, name, _require_headed(network).classifier)


def _connector(student: Tensor, teacher: Tensor) -> nn.Module:
    channels = student.shape[1], teacher.shape[1]
    if channels[0] == channels[1]:
        return nn.Identity()
    return Connector(*channels).to(student.device, student.dtype)


def _require_headed(network: nn.Module) -> HeadedClassifier:
    if not isinstance(network, HeadedClassifier):
        raise ValueError(
            f"the teacher must be a HeadedClassifier, but it is a {type(network).__name__}. "
            "Put it into one, with its layers and heads."
        )
    return network
