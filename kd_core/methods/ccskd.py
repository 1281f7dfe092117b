"""CCSKD: follow the teacher where it is right, and let samples relate by their channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.attention import pooled_channels
from kd_core.checks import check_feature_maps, check_weights
from kd_core.connectors import Connector
from kd_core.layers import LayerPath
from kd_core.losses.channel_distillation import ChannelDistillationLoss
from kd_core.losses.channel_relation import ChannelRelationLoss
from kd_core.losses.selective_target import SelectiveTargetLoss
from kd_core.losses.soft_target import SoftTargetLoss
from kd_core.methods.adapter import NetworkBuilder, TaskAdapter
from kd_core.methods.base import Batch
from kd_core.methods.stages import StagesDistiller, require_as_many, select_layers
from kd_core.teacher import FrozenTeacher

_TEACHER = "the teacher"


@dataclass(frozen=True)
class CCSKDSchedule:
    """Weights of CCSKD as a function of the epoch. The defaults are the authors', for 200 epochs.

    Attributes:
        epoch_length: Iterations of an epoch: images over batch size, rounded up; ``None`` waits
            for :meth:`kd_core.base_distiller.BaseDistiller.set_run_length`.
        start: Epoch at which cross-entropy and selective targets begin; before it the student
            learns from the teacher alone.
        decay: Epochs from which the weight of channel distillation is multiplied by ``factor``.
        every: Number of epochs after which the selective multiplier is multiplied by ``factor``.
        factor: Between 0 and 1.

    Raises:
        ValueError: If a number of epochs or iterations is too small, or the factor is out of range.
    """

    epoch_length: int | None = None
    start: int = 60
    decay: Sequence[int] = (60, 160)
    every: int = 30
    factor: float = 0.9

    def __post_init__(self) -> None:
        length = 1 if self.epoch_length is None else self.epoch_length
        if not (length >= 1 and self.every >= 1 and self.start >= 0):
            raise ValueError(
                "epoch_length and every must be at least 1 and start at least 0, but they are "
                f"{self.epoch_length}, {self.every} and {self.start}."
            )
        if not 0 < self.factor <= 1:
            raise ValueError(f"factor must be above 0 and at most 1, but it is {self.factor}.")

    def epoch(self, iteration: int) -> int:
        """Return the epoch of an iteration, both counted from 0.

        Raises:
            ValueError: If the length of an epoch is not known.
        """
        if self.epoch_length is None:
            raise ValueError(
                "CCSKD needs the length of an epoch, but it is not known. Call the method's "
                "set_run_length(epoch_length) before training (a run of kdkit train does), or give "
                "schedule=dict(epoch_length=...)."
            )
        return iteration // self.epoch_length

    def has_started(self, iteration: int) -> bool:
        """Return whether cross-entropy and selective targets count."""
        return self.epoch(iteration) >= self.start

    def selective(self, iteration: int) -> float:
        """Return the factor on the squared multiplier: factor^(2 * floor(epoch / every))."""
        return self.factor ** (2 * (self.epoch(iteration) // self.every))

    def channel(self, iteration: int) -> float:
        """Return the factor on channel distillation: factor^(number of decays so far)."""
        epoch = self.epoch(iteration)
        return float(self.factor ** sum(epoch >= step for step in self.decay))


class CCSKD(StagesDistiller):
    """Selective soft targets, channel distillation and channel relations, by a schedule of epochs.

        s_l = GAP(ReLU(BN(conv1x1(F_l of the student)))), t_l = GAP(F_l of the teacher)
        loss = w_CE * CE + 0.1 * KL(teacher || student)
               + w_SEL * mean over N of m_n^2 * KL(teacher || student)_n
               + w_CD * sum over l of mean (s_l - t_l)^2
               + 6 * sum over l of [RKD-D + 2 RKD-A](s_l, t_l)
        m_n = (1 + [the teacher is right on n]) * 0.9^floor(epoch / 30)
        w_CE = 1 and w_SEL = 0.1 from epoch 60 on, both 0 before
        w_CD = 6 * 0.9^([epoch >= 60] + [epoch >= 160])

    CE is the student's own loss. The connectors s_l are there also where channels are equal.

    Gou, Xiong, Yu, Zhan and Yi, "Channel-Correlation-Based Selective Knowledge Distillation",
    IEEE TCDS 2022, https://doi.org/10.1109/TCDS.2022.3232569. Status: the authors' code, but for
    two traps: its selective term is not 0 for equal logits (the gradient is that of the formula
    above), and it runs the teacher's batch norm in training mode (here always in eval mode).

    Args:
        teacher: The frozen teacher.
        schedule: How the weights change with the epochs.
        weights: Factors of ``response`` (0.1), ``selective`` (0.1), ``channel`` (6) and
            ``relation`` (6); the others keep the authors'.
        layers: Selectors of the layers of ``student`` and ``teacher``, as many of each; one that
            is not named takes its stages.
        gather: Relate the samples of all ranks, not those of each alone.
        adapter: The task; the default is that of plain classifiers.

    Raises:
        ValueError: If a weight is unknown, negative or not finite, or a key of ``layers`` unknown.
    """

    needs_example = True

    def __init__(
        self,
        teacher: FrozenTeacher,
        schedule: CCSKDSchedule,
        weights: Mapping[str, float] | None = None,
        layers: Mapping[str, Sequence[str] | None] | None = None,
        gather: bool = False,
        adapter: TaskAdapter | None = None,
    ) -> None:
        named = dict(layers or {})
        if unknown := sorted(set(named) - {"student", "teacher"}):
            raise ValueError(f"layers must be of student and teacher, but not of {unknown}.")
        super().__init__(named.get("student"), {_TEACHER: teacher}, adapter)
        self.layers_of_teacher = select_layers(
            self.adapter, teacher.model, named.get("teacher"), "teacher"
        )
        self.schedule = schedule
        self._waits = schedule.epoch_length is None
        defaults = dict(response=0.1, selective=0.1, channel=6.0, relation=6.0)
        self.weights = _checked(defaults, weights or {})
        self.response = SoftTargetLoss(temperature=1.0)
        self.selective = SelectiveTargetLoss(temperature=1.0)
        self.channel = ChannelDistillationLoss()
        self.relation = ChannelRelationLoss(gather=gather)
        self.connectors = nn.ModuleList()

    @classmethod
    def from_config(
        cls,
        build: NetworkBuilder,
        teacher: Mapping[str, Any],
        schedule: Mapping[str, Any] | None = None,
        weights: Mapping[str, float] | None = None,
        layers: Sequence[str] | None = None,
        teacher_layers: Sequence[str] | None = None,
        gather: bool = False,
    ) -> nn.Module:
        """Build a student and its teacher, and attach the teacher.

        Args:
            build: Builds networks.
            teacher: ``dict(config=, checkpoint=, allow_partial=False, precision=None)``.
            schedule: Arguments of :class:`CCSKDSchedule`; ``None`` is the authors'.
            weights: Other weights than the authors', by name.
            layers: Selectors of the student's layers; ``None`` takes its stages.
            teacher_layers: Those of the teacher, as many.
            gather: Relate the samples of all ranks, not those of each alone.

        Returns:
            The student, with the method as its child ``distiller``.

        Raises:
            ValueError: If an option is wrong, or networks or layers do not fit.
            kd_core.checkpoint.CheckpointError: If the teacher's checkpoint is unsafe, broken or
                does not fit.
        """
        student = build.student()
        trained, precision = build.trained(teacher)
        frozen = FrozenTeacher(trained, precision=precision)
        both = {"student": layers, "teacher": teacher_layers}
        times = CCSKDSchedule(**(schedule or {}))
        return cls(frozen, times, weights, both, gather, build.adapter).attach(student)

    def prepare(self, images: Tensor, output: Tensor, features: list[Tensor]) -> None:
        """Make a connector for each layer."""
        require_as_many({"student": features, _TEACHER: self.layers_of_teacher})
        wanted = self.run_teacher(_TEACHER, images, self.layers_of_teacher)
        for pair in zip(features, wanted, strict=True):
            check_feature_maps(*pair)
        self.connectors = nn.ModuleList(
            Connector(own.shape[1], other.shape[1]).to(own.device, own.dtype)
            for own, other in zip(features, wanted, strict=True)
        )

    def start_iteration(self) -> int:
        """Return the iteration at which cross-entropy and selective targets begin."""
        self.schedule.epoch(0)  # its length must be known
        return self.schedule.start * (self.schedule.epoch_length or 0)

    def set_run_length(self, epoch_length: int, total: int | None = None) -> None:
        """Let a schedule without a length of the epoch know it."""
        if self._waits:
            self.schedule = dataclasses.replace(self.schedule, epoch_length=epoch_length)

    def teacher_layers(self, iteration: int) -> dict[str, list[LayerPath]]:
        """Return the teacher's layers that are read: its logits and stages."""
        return (
            {_TEACHER: [self.output, *self.layers_of_teacher]} if self._present(iteration) else {}
        )

    def compare(self, batch: Batch) -> dict[str, Tensor]:
        """Weight the student's own loss by the schedule, and add those of the teacher."""
        started = self.schedule.has_started(batch.iteration)
        own = {} if started else {self.adapter.loss: 0.0 * batch.task[self.adapter.loss]}
        weights = self._present(batch.iteration)
        if not weights:
            return own
        logits, *features = batch.teacher_outputs[_TEACHER]
        values = {}
        if "response" in weights:
            values["response"] = self.response(batch.output, logits)
        if "selective" in weights:
            values["selective"] = self.selective(batch.output, logits, batch.labels)
        if weights.keys() & {"channel", "relation"}:
            pairs = self._channels(batch.features, features)
            for name, loss in (("channel", self.channel), ("relation", self.relation)):
                if name in weights:
                    values[name] = torch.stack([loss(*pair) for pair in pairs]).sum()
        return own | {f"loss_{name}": weights[name] * value for name, value in values.items()}

    def _present(self, iteration: int) -> dict[str, float]:
        """Return the weights that are not 0 at an iteration."""
        weights = self.weights | {
            "selective": self.weights["selective"] * self.schedule.selective(iteration),
            "channel": self.weights["channel"] * self.schedule.channel(iteration),
        }
        if not self.schedule.has_started(iteration):
            weights["selective"] = 0.0
        return {name: weight for name, weight in weights.items() if weight}

    def _channels(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor]
    ) -> list[tuple[Tensor, Tensor]]:
        connected = [
            connector(feature).relu()
            for connector, feature in zip(self.connectors, student, strict=True)
        ]
        return [
            (pooled_channels(own), pooled_channels(other))  # (N, C_t) each
            for own, other in zip(connected, teacher, strict=True)
        ]


def _checked(defaults: dict[str, float], given: Mapping[str, float]) -> dict[str, float]:
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ValueError(f"weights must be of {', '.join(defaults)}, but not of {unknown}.")
    check_weights(**given)
    return defaults | dict(given)
