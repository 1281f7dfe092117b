"""Adversarial distillation: a discriminator tells student and teacher apart, the student hides."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from kd_core.checks import check_weights
from kd_core.connectors import Connector
from kd_core.layers import LayerPath, find_layer
from kd_core.losses.soft_target import SoftTargetLoss
from kd_core.methods.adapter import NetworkBuilder, TaskAdapter
from kd_core.methods.base import Batch
from kd_core.methods.epochs import EpochsDistiller
from kd_core.ranks import is_distributed
from kd_core.teacher import FrozenTeacher

_TEACHER = "the teacher"
_LIMITS = 0.5, 0.95  # of the discriminator's accuracy, while both learn


class Adversarial(EpochsDistiller):
    """The student's outputs become such that a discriminator takes them for the teacher's.

        even steps: own + KD + mean over N of [-log D(t) - log(1 - D(s))], which trains D alone
        odd steps:  own + KD + weight * ramp * mean over N of -log D(s),   which trains s alone
        KD = alpha * KL_t(teacher || student)

    s and t are the scores of student and teacher (logits; similarities within the batch of networks
    that embed), or the pooled maps or vectors of a layer; where their sizes differ, a linear layer
    with batch norm is trained with the student. D has three linear layers with leaky ReLUs between
    them, and a sigmoid. One optimizer trains all: in each step the other side gets no gradient.

    The accuracy of D is averaged over ``window`` of its steps, and over all GPUs. If it leaves
    (0.5, 0.95), D has won or has learned nothing: the adversarial part then ends for good, with a
    warning, and training goes on with the rest. That state, D and the connector are saved under
    ``distiller.``, and never exported.

    Status: second-hand, the formula is that of surveys (a GAN's losses with the teacher's outputs
    as the real ones, as in Xu, Hsu and Huang, "Training Shallow and Thin Networks for Acceleration
    via Knowledge Distillation with Conditional Adversarial Networks", https://arxiv.org/abs/1709.00513,
    whose D also classifies); alternation, ramp and the end are ours.

    Args:
        teacher: The frozen teacher.
        weight: Factor on the student's adversarial loss, and epochs in which it rises.
        layers: Selectors of the layers of student and teacher that D sees; ``None`` takes their
            scores.
        discriminator: Width of D, and number of its steps over which accuracy is averaged.
        soft_target: The KD part, its ``loss_weight`` is alpha.
        adapter: The task; the default is that of plain classifiers.

    Raises:
        ValueError: If a number is out of range, or a layer does not exist.
    """

    needs_example = True
    finished: Tensor
    accuracy: Tensor

    def __init__(
        self,
        teacher: FrozenTeacher,
        weight: tuple[float, float] = (0.1, 0.0),
        layers: tuple[str, str] | None = None,
        discriminator: tuple[int, int] = (128, 200),
        soft_target: SoftTargetLoss | None = None,
        adapter: TaskAdapter | None = None,
    ) -> None:
        super().__init__([layers[0]] if layers else [], {_TEACHER: teacher}, adapter)
        self.weight, self.ramp_epochs = weight
        check_weights(weight=self.weight, ramp=self.ramp_epochs)
        self.width, self.window = discriminator
        if self.width < 1 or self.window < 1:
            raise ValueError(
                f"width and window must be at least 1, but they are {self.width} and {self.window}."
            )
        self._read = [self.output]
        if layers:
            path = LayerPath.parse(layers[1])
            find_layer(teacher.model, path, "teacher")
            self._read.append(path)
        self.soft_target = soft_target or SoftTargetLoss()
        self.connector: nn.Module = nn.Identity()
        self.discriminator: nn.Module = nn.Identity()
        self.register_buffer("finished", torch.zeros((), dtype=torch.bool))
        self.register_buffer("accuracy", torch.zeros(2))  # sum, and number of steps

    @classmethod
    def from_config(
        cls,
        build: NetworkBuilder,
        teacher: Mapping[str, Any],
        weight: float = 0.1,
        ramp: float = 0.0,
        layer: str | None = None,
        teacher_layer: str | None = None,
        alpha: float = 1.0,
        temperature: float = 4.0,
        width: int = 128,
        window: int = 200,
    ) -> nn.Module:
        """Build a student, its teacher and a discriminator.

        Args:
            build: Builds networks.
            teacher: ``dict(config=, checkpoint=, allow_partial=False, precision=None)``.
            weight: Factor on the student's adversarial loss.
            ramp: Epochs in which it rises; 0 for none.
            layer: Selector of the student's layer that the discriminator sees; ``None`` takes the
                scores.
            teacher_layer: The teacher's; ``None`` takes the student's.
            alpha: Weight of soft targets.
            temperature: Divisor of their scores, above 0.
            width: Size of the discriminator's inner layers.
            window: Number of its steps over which its accuracy is averaged.

        Returns:
            The student, with the method as its child ``distiller``.

        Raises:
            ValueError: If an option is wrong, or networks or layers do not fit.
            kd_core.checkpoint.CheckpointError: If the checkpoint is unsafe, broken or does not fit.
        """
        check_weights(alpha=alpha)
        student = build.student()
        network, precision = build.trained(teacher)
        frozen = FrozenTeacher(network, precision=precision)
        layers = None if layer is None else (layer, teacher_layer or layer)
        kd = SoftTargetLoss(temperature, alpha)
        method = cls(frozen, (weight, ramp), layers, (width, window), kd, build.adapter)
        return method.attach(student)

    def check_gradients(self, features: list[Tensor]) -> None:
        """Require a gradient at the layer that is compared, if one is."""
        if features:
            super().check_gradients(features)

    def prepare(self, images: Tensor, output: Tensor, features: list[Tensor]) -> None:
        """Make the discriminator, and a connector where the sizes differ."""
        found = self.run_teacher(_TEACHER, images, self._read)
        student, teacher = self._seen(output, features), self._seen(found[0], found[1:])
        size, target = student.shape[1], teacher.shape[1]
        if size != target:
            self.connector = Connector(size, target, "linear-norm").to(output.device)
        self.discriminator = nn.Sequential(
            nn.Linear(target, self.width),
            nn.LeakyReLU(0.2),
            nn.Linear(self.width, self.width),
            nn.LeakyReLU(0.2),
            nn.Linear(self.width, 1),
        ).to(output.device)

    def teacher_layers(self, iteration: int) -> dict[str, list[LayerPath]]:
        """Return the teacher's layers that are read, if any of its losses counts."""
        if self.soft_target.loss_weight or self._plays():
            return {_TEACHER: self._read}
        return {}

    def compare(self, batch: Batch) -> dict[str, Tensor]:
        """Train the discriminator or the student, by turns, and compare scores."""
        losses: dict[str, Tensor] = {}
        if not batch.teacher_outputs:
            return losses
        output, *features = batch.teacher_outputs[_TEACHER]
        if self.soft_target.loss_weight:
            scores = self.adapter.scores
            losses["loss_soft_target"] = self.soft_target(scores(batch.output), scores(output))
        if self._plays():
            student, teacher = (
                self._seen(batch.output, batch.features),
                self._seen(output, features),
            )
            if batch.iteration % 2:
                factor = self.weight * self.ramp(batch.iteration, self.ramp_epochs)
                losses["loss_adversarial"] = factor * self._hide(self.connector(student))
            else:
                with torch.no_grad():
                    student = self.connector(student)
                losses |= self._tell(student.detach(), teacher)
        return losses

    def _plays(self) -> bool:
        return bool(self.weight) and not bool(self.finished)

    def _seen(self, output: Tensor, features: list[Tensor]) -> Tensor:
        """Return what the discriminator sees (N, D): the scores, or a layer's pooled output."""
        if not features:
            return self.adapter.scores(output).float()
        (feature,) = features
        return (feature.mean((2, 3)) if feature.dim() == 4 else feature.flatten(1)).float()

    def _hide(self, student: Tensor) -> Tensor:
        """Return -log D(s), without a gradient for D."""
        frozen = {name: one.detach() for name, one in self.discriminator.named_parameters()}
        guess: Tensor = torch.func.functional_call(self.discriminator, frozen, (student,))
        return F.softplus(-guess).mean()

    def _tell(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Return the discriminator's loss and its accuracy on the batch."""
        real, fake = self.discriminator(teacher), self.discriminator(student)
        accuracy = ((real > 0).float().mean() + (fake < 0).float().mean()).detach() / 2
        self.accuracy += torch.stack((accuracy, torch.ones_like(accuracy)))
        self._judge()
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        return {"loss_discriminator": loss, "accuracy_discriminator": 100 * accuracy}

    def _judge(self) -> None:
        """End the game if the discriminator has won, or has learned nothing."""
        steps = self.current_iteration() // 2 + 1
        if steps % self.window:
            return
        total = self.accuracy.clone()
        if is_distributed():
            distributed.all_reduce(total)  # the ranks end it together
        mean = (total[0] / total[1].clamp(min=1)).item()
        self.accuracy.zero_()
        low, high = _LIMITS
        if not low < mean < high:
            self.finished.fill_(True)
            warnings.warn(
                f"the adversarial part ends at iteration {self.current_iteration()}: the "
                f"discriminator {'has won' if mean >= high else 'has learned nothing'}, it was "
                f"right in {100 * mean:.0f} % of the last {self.window} of its steps and must stay "
                f"between {100 * low:.0f} and {100 * high:.0f}. Training goes on with the other "
                "losses. A larger weight, a smaller width or pooled features may keep it going.",
                stacklevel=2,
            )
