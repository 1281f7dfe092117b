"""CTKD: a teacher that learns along with the student, and an expert that shows where to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.checks import check_weights
from kd_core.layers import LayerPath
from kd_core.losses.attention_transfer import AttentionTransferLoss
from kd_core.methods.adapter import NetworkBuilder, TaskAdapter
from kd_core.methods.base import Batch
from kd_core.methods.stages import StagesDistiller, require_as_many, select_layers
from kd_core.teacher import FrozenTeacher

_EXPERT, _SCRATCH = "the expert teacher", "the scratch teacher"
ATTENTION_ON = ("student", "scratch", "both")


@dataclass(frozen=True)
class TeachingWeights:
    """Weights and options of :class:`CTKD`.

    Attributes:
        gamma: Weight of the distance from the scratch teacher's logits.
        beta: Weight of the expert's attention.
        attention_on: Which network gets it: ``student``, ``scratch`` or ``both``.

    Raises:
        ValueError: If a weight is negative or not finite, or ``attention_on`` is unknown.
    """

    gamma: float = 0.03
    beta: float = 1000.0
    attention_on: str = "student"

    def __post_init__(self) -> None:
        """Require weights and a known option."""
        check_weights(gamma=self.gamma, beta=self.beta)
        if self.attention_on not in ATTENTION_ON:
            raise ValueError(
                f"attention_on must be one of {', '.join(ATTENTION_ON)}, but it is "
                f"{self.attention_on!r}."
            )


class CTKD(StagesDistiller):
    """A scratch teacher guides by its temporary logits, an expert by its attention.

        loss = CE(scratch) + CE(student) + gamma * mean over N of ||z_student - z_scratch||^2
               + beta * sum over layers of AT(student, expert)

    The distance sums over classes; no gradient of it reaches the scratch teacher. CE(student) is
    the student's own loss; both have the ``loss_weight`` of their classifier.

    Zhao, Sun, Dong, Chen and Dong, "Highlight Every Step: Knowledge Distillation via
    Collaborative Teaching", IEEE Transactions on Cybernetics 2020,
    https://arxiv.org/abs/1907.09643. Status: the authors' code. It compares the expert's
    attention with the scratch teacher's stages by a slip of ``zip``; here it is the student's,
    as the paper has it, and ``attention_on="scratch"`` is the released code.

    Args:
        scratch: The classifier that is trained along with the student.
        expert: The frozen one.
        weights: gamma, beta, and which network gets the expert's attention.
        layers: Selectors of the layers of ``student``, ``scratch`` and ``teacher``; one that is
            not named takes its stages.
        adapter: The task; the default is that of plain classifiers.

    Raises:
        ValueError: If a key of ``layers`` is unknown, or the networks have different numbers of
            layers.
    """

    def __init__(
        self,
        scratch: nn.Module,
        expert: FrozenTeacher,
        weights: TeachingWeights | None = None,
        layers: Mapping[str, Sequence[str]] | None = None,
        adapter: TaskAdapter | None = None,
    ) -> None:
        named = dict(layers or {})
        if unknown := sorted(set(named) - {"student", "scratch", "teacher"}):
            raise ValueError(
                f"layers must be of student, scratch and teacher, but not of {unknown}."
            )
        super().__init__(named.get("student"), {_EXPERT: expert}, adapter)
        self.weights = weights or TeachingWeights()
        self.scratch = scratch
        self.scratch_layers = select_layers(
            self.adapter, scratch, named.get("scratch"), "scratch teacher"
        )
        self.expert_layers = select_layers(
            self.adapter, expert.model, named.get("teacher"), "expert teacher"
        )
        self.attention = AttentionTransferLoss()

    @classmethod
    def from_config(
        cls,
        build: NetworkBuilder,
        scratch: Mapping[str, Any],
        teacher: Mapping[str, Any],
        gamma: float = TeachingWeights.gamma,
        beta: float = TeachingWeights.beta,
        attention_on: str = TeachingWeights.attention_on,
        layers: Mapping[str, Sequence[str]] | None = None,
    ) -> nn.Module:
        """Build a student, a scratch teacher and a frozen expert teacher, and attach the two.

        Args:
            build: Builds networks.
            scratch: Config of the classifier that is trained from scratch along with the student.
            teacher: The expert, ``dict(config=, checkpoint=, allow_partial=False,
                precision=None)``.
            gamma: Weight of the distance from the scratch teacher's logits.
            beta: Weight of the expert's attention.
            attention_on: Which network gets it: ``student``, ``scratch`` or ``both``.
            layers: Selectors of the layers of ``student``, ``scratch`` and ``teacher``; one that
                is not named takes its stages.

        Returns:
            The student, with the method as its child ``distiller``.

        Raises:
            ValueError: If an option is wrong, or networks or layers do not fit.
            kd_core.checkpoint.CheckpointError: If the expert's checkpoint is unsafe, broken or
                does not fit.
        """
        weights = TeachingWeights(gamma, beta, attention_on)
        student, helper = build.student(), build.network(scratch)
        expert, precision = build.trained(teacher)
        frozen = FrozenTeacher(expert, precision=precision)
        return cls(helper, frozen, weights, layers, build.adapter).attach(student)

    def networks(self) -> list[tuple[str, nn.Module, bool]]:
        """Return the scratch teacher and the expert."""
        return [(_SCRATCH, self.scratch, True), *super().networks()]

    def loss_owner(self, loss: str) -> str:
        """Return the network that diverges if this loss is not finite."""
        return _SCRATCH if loss == "loss_scratch_ce" else super().loss_owner(loss)

    def prepare(self, images: Tensor, output: Tensor, features: list[Tensor]) -> None:
        """Require as many layers of each network, and maps (N, C, H, W) where they are compared."""
        require_as_many(
            {
                "student": features,
                _SCRATCH: self.scratch_layers,
                _EXPERT: self.expert_layers,
            }
        )
        if self.weights.beta:
            self.run_teacher(_EXPERT, images, self.expert_layers)
            self.dry_outputs(_SCRATCH, self.scratch, images, self.scratch_layers)

    def teacher_layers(self, iteration: int) -> dict[str, list[LayerPath]]:
        """Return the expert's layers that are read: its stages."""
        return {_EXPERT: self.expert_layers} if self.weights.beta else {}

    def compare(self, batch: Batch) -> dict[str, Tensor]:
        """Train the scratch teacher, and compare the student with both."""
        weights = self.weights
        scratch_logits, *scratch_features = self.run(
            _SCRATCH, self.scratch, batch.images, [self.output, *self.scratch_layers]
        )
        own = self.adapter.own_loss(self.scratch, scratch_logits, batch.labels)
        losses = {"loss_scratch_ce": own}
        if weights.gamma:
            distance = batch.output.float() - scratch_logits.detach().float()  # (N, classes)
            losses["loss_scratch"] = weights.gamma * distance.square().sum(1).mean()
        if weights.beta:
            expert = batch.teacher_outputs[_EXPERT]
            learners = {"student": batch.features, "scratch": scratch_features}
            for name, features in learners.items():
                if weights.attention_on in (name, "both"):
                    attention = self._attention(features, expert)
                    losses[f"loss_attention_{name}"] = weights.beta * attention
        return losses

    def _attention(self, learner: Sequence[Tensor], expert: Sequence[Tensor]) -> Tensor:
        pairs = zip(learner, expert, strict=True)
        return torch.stack([self.attention(*pair) for pair in pairs]).sum()
