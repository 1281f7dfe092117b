"""Self-distillation from an average (EMA) or from snapshots of the student's own weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.checks import check_weights
from kd_core.following import Following, live_norms
from kd_core.losses.soft_target import SoftTargetLoss
from kd_core.methods.adapter import NetworkBuilder, TaskAdapter
from kd_core.methods.base import Batch
from kd_core.methods.epochs import EpochsDistiller
from kd_core.teacher import eval_mode

_NAME = "the earlier self"


class SelfTeacher(EpochsDistiller):
    """The student follows the predictions of its own earlier weights; no teacher is trained.

        loss = own + loss_weight * ramp * KL_t(sg p_earlier || p)
        earlier weights, before each step: m * earlier + (1 - m) * student
        or, with every=E: a copy of the student, taken anew at the start of every E-th epoch

    The first is the average of the student's weights over about 1 / (1 - m) steps (EMA), the
    second its snapshots. Scores are logits; of networks that embed, the similarities within the
    batch. The earlier network is in eval mode, but for batch norms that train in the student:
    those use the statistics of each batch. It gets no gradient, is saved under ``distiller.`` (a
    resumed run is the unbroken one) and never exported. It costs one more forward a step. The
    student starts as its own teacher: at the first step both are equal.

    After Tarvainen and Valpola, "Mean teachers are better role models", NIPS 2017,
    https://arxiv.org/abs/1703.01780 (the average) and Yang, Xie, Su and Yuille, "Snapshot
    Distillation", CVPR 2019, https://arxiv.org/abs/1812.00123 (the copies). Status:
    reconstruction: both ideas with the divergence and the ramp of other methods here; the papers
    have losses and schedules of their own.

    Args:
        earlier: A network like the student; its weights are replaced by the student's.
        momentum: m, from 0 to below 1; not used by snapshots.
        every: Epochs between snapshots; 0 takes the average.
        ramp: Epochs in which the weight rises; 0 for none.
        loss: ``loss_weight`` and temperature t.
        adapter: The task; the default is that of plain classifiers.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        earlier: nn.Module,
        momentum: float = 0.999,
        every: int = 0,
        ramp: float = 0.0,
        loss: SoftTargetLoss | None = None,
        adapter: TaskAdapter | None = None,
    ) -> None:
        super().__init__([], adapter=adapter)
        check_weights(ramp=ramp)
        self.following, self.ramp_epochs = Following(momentum, every), ramp
        self.loss = loss or SoftTargetLoss()
        self.earlier = earlier.requires_grad_(False)
        self._live_norms: list[nn.Module] = []

    @classmethod
    def from_config(
        cls,
        build: NetworkBuilder,
        momentum: float = 0.999,
        every: int = 0,
        ramp: float = 0.0,
        temperature: float = 4.0,
        loss_weight: float = 1.0,
    ) -> nn.Module:
        """Build a student, and its earlier self.

        Args:
            build: Builds networks.
            momentum: Share of the earlier weights in the average, from 0 to below 1.
            every: Epochs between snapshots; 0 takes the average.
            ramp: Epochs in which the weight rises; 0 for none.
            temperature: Divisor of the scores, above 0.
            loss_weight: Weight of the earlier self's predictions.

        Returns:
            The student, with the method as its child ``distiller``.

        Raises:
            ValueError: If a number is out of range.
        """
        student = build.student()
        loss = SoftTargetLoss(temperature, loss_weight)
        method = cls(copy.deepcopy(student), momentum, every, ramp, loss, build.adapter)
        return method.attach(student)

    def networks(self) -> list[tuple[str, nn.Module, bool]]:
        """Return the earlier self."""
        return [(_NAME, self.earlier, False)]

    def check_gradients(self, features: list[Tensor]) -> None:
        """Require nothing of layers: only the output is compared."""

    def pre_forward(
        self, student: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Let the earlier weights follow the student's."""
        super().pre_forward(student, args, kwargs)
        length = self._length[0] if self._length else None
        self.following.step(self.earlier, student, self.current_iteration(), length)
        self._live_norms = live_norms(self.earlier, student)

    def compare(self, batch: Batch) -> dict[str, Tensor]:
        """Compare the student's predictions with its earlier self's."""
        factor = self.ramp(batch.iteration, self.ramp_epochs)
        if not (self.loss.loss_weight and factor):
            return {}
        before, scores = self._predict(batch.images), self.adapter.scores
        return {"loss_self": factor * self.loss(scores(batch.output), scores(before))}

    @torch.no_grad()
    def _predict(self, images: Tensor) -> Tensor:
        with eval_mode(self.earlier, self._live_norms):
            (found,) = self.run(_NAME, self.earlier, images, [self.output])
        return found
