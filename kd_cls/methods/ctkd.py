"""CTKD: a teacher that learns beside the student, and an expert that shows where to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from kd_cls.classifier import Classifier
from kd_cls.methods.method import LOGITS, Batch, ClassifierMethod
from kd_cls.methods.networks import dry_features, layers_of, require_as_many
from kd_core.checks import check_weights
from kd_core.layers import LayerPath
from kd_core.losses import AttentionTransferLoss
from kd_core.teacher import FrozenTeacher
from kd_engine.build import build_trained

_EXPERT = "the expert teacher"
ATTENTION_ON = ("student", "scratch", "both")


def CTKD(  # noqa: N802  a config names it as a type
    student: Mapping[str, Any],
    scratch: Mapping[str, Any],
    teacher: Mapping[str, Any],
    gamma: float = 0.03,
    beta: float = 1000.0,
    attention_on: str = "student",
    layers: Mapping[str, Sequence[str]] | None = None,
) -> nn.Module:
    """Build a student, a scratch teacher and a frozen expert teacher, and attach the two.

    Args:
        student: Config of a :class:`kd_cls.Classifier`.
        scratch: Config of the classifier that is trained from scratch beside it.
        teacher: The expert, ``dict(config=, checkpoint=, allow_partial=False, precision=None)``.
        gamma: Weight of the distance from the scratch teacher's logits.
        beta: Weight of the expert's attention.
        attention_on: Who gets it: ``student``, ``scratch`` or ``both``.
        layers: Selectors of the layers of ``student``, ``scratch`` and ``teacher``; one that is
            not named takes its stages.

    Returns:
        The student, with the method as its child ``distiller``.

    Raises:
        ValueError: If an option is wrong, or networks or layers do not fit.
        kd_core.checkpoint.CheckpointError: If the expert's checkpoint is unsafe, broken or does
            not fit.
    """
    model: nn.Module = MODELS.build(ConfigDict(student))
    with torch.random.fork_rng(devices=[]):
        helper = MODELS.build(ConfigDict(scratch))
    expert, precision = build_trained(teacher)
    frozen = FrozenTeacher(expert, precision=precision)
    return CollaborativeTeaching(helper, frozen, gamma, beta, attention_on, layers).attach(model)


class CollaborativeTeaching(ClassifierMethod):
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
        scratch: The classifier that is trained beside the student.
        expert: The frozen one.
        gamma: Weight of the distance from the scratch teacher's logits.
        beta: Weight of the expert's attention.
        attention_on: Who gets it: ``student``, ``scratch`` or ``both``.
        layers: Selectors of the layers of ``student``, ``scratch`` and ``teacher``; one that is
            not named takes its stages.

    Raises:
        ValueError: If a weight is negative or not finite, ``attention_on`` or a key of ``layers``
            is unknown, or the networks have different numbers of layers.
    """

    def __init__(
        self,
        scratch: Classifier,
        expert: FrozenTeacher,
        gamma: float = 0.03,
        beta: float = 1000.0,
        attention_on: str = "student",
        layers: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        named = dict(layers or {})
        super().__init__(named.get("student"))
        _check(gamma, beta, attention_on, named)
        self.gamma, self.beta, self.attention_on = gamma, beta, attention_on
        self.scratch = scratch
        self.teachers = {_EXPERT: expert}
        self.scratch_layers = layers_of(scratch, named.get("scratch"), "scratch teacher")
        self.expert_layers = layers_of(expert.model, named.get("teacher"), "expert teacher")
        self.attention = AttentionTransferLoss()

    def networks(self) -> list[tuple[str, nn.Module, bool]]:
        """Return the scratch teacher and the expert."""
        return [("the scratch teacher", self.scratch, True), *super().networks()]

    def owner(self, loss: str) -> str:
        """Name the network that diverges if this loss is not finite."""
        return "the scratch teacher" if loss == "loss_scratch_ce" else super().owner(loss)

    def prepare(self, student: Classifier, features: list[Tensor], images: Tensor) -> None:
        """Require as many layers of each network, and maps (N, C, H, W) where they are compared."""
        require_as_many(
            {
                "student": features,
                "the scratch teacher": self.scratch_layers,
                _EXPERT: self.expert_layers,
            }
        )
        if self.beta:
            self.run_teacher(_EXPERT, images, self.expert_layers)
            own = self.images_for("the scratch teacher", images)
            dry_features(self.scratch, self.scratch_layers, own, "the scratch teacher")

    def teacher_layers(self, iteration: int) -> dict[str, list[LayerPath]]:
        """Ask the expert for its stages."""
        return {_EXPERT: self.expert_layers} if self.beta else {}

    def compare(self, batch: Batch) -> dict[str, Tensor]:
        """Train the scratch teacher, and compare the student with both."""
        scratch_logits, *scratch_features = self.run(
            "the scratch teacher", self.scratch, batch.images, [LOGITS, *self.scratch_layers]
        )
        entropy = F.cross_entropy(scratch_logits.float(), batch.labels)
        losses = {"loss_scratch_ce": self.scratch.loss_weight * entropy}
        if self.gamma:
            distance = batch.logits.float() - scratch_logits.detach().float()  # (N, classes)
            losses["loss_scratch"] = self.gamma * distance.square().sum(1).mean()
        if self.beta:
            expert = batch.teacher_outputs[_EXPERT]
            learners = {"student": batch.features, "scratch": scratch_features}
            for name, features in learners.items():
                if self.attention_on in (name, "both"):
                    losses[f"loss_attention_{name}"] = self.beta * self._attention(features, expert)
        return losses

    def _attention(self, learner: Sequence[Tensor], expert: Sequence[Tensor]) -> Tensor:
        pairs = zip(learner, expert, strict=True)
        return torch.stack([self.attention(*pair) for pair in pairs]).sum()


def _check(gamma: float, beta: float, attention_on: str, layers: Mapping[str, Any]) -> None:
    check_weights(gamma=gamma, beta=beta)
    if attention_on not in ATTENTION_ON:
        raise ValueError(
            f"attention_on must be one of {', '.join(ATTENTION_ON)}, but it is {attention_on!r}."
        )
    if unknown := sorted(set(layers) - {"student", "scratch", "teacher"}):
        raise ValueError(f"layers must be of student, scratch and teacher, but not of {unknown}.")
