"""What the methods of several networks have in common: how they meet a student classifier."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from kd_cls.classifier import Classifier
from kd_cls.methods.networks import (
    dry_features,
    example_of,
    flat,
    network_table,
    require_channels_first,
    require_classifier,
    require_same_task,
    stage_layers,
)
from kd_core.base_distiller import BaseDistiller, Call
from kd_core.layers import LayerPath, read_layers
from kd_core.loss_checks import check_finite, require_gradients
from kd_core.teacher import Forward
from kd_core.term import named_arguments
from kd_engine.data.renormalize import Renormalize

LOGITS = LayerPath.parse("logits")


@dataclass(frozen=True)
class Batch:
    """A batch, and what the student made of it.

    Attributes:
        images: Normalized for the student (N, 3, H, W).
        labels: Class of each image, int64 (N,).
        logits: The student's (N, classes).
        features: The student's at the method's layers, from shallow to deep: maps (N, C, H, W) or
            vectors (N, D).
        teacher_outputs: Outputs of the frozen networks' layers, by name of the network.
        task: The losses that the student returned.
        iteration: Counted from 0.
    """

    images: Tensor
    labels: Tensor
    logits: Tensor
    features: list[Tensor]
    teacher_outputs: Mapping[str, list[Tensor]]
    task: Mapping[str, Any]
    iteration: int


class ClassifierMethod(BaseDistiller):
    """A method with more networks than a student and a frozen teacher.

    It is attached to the student as a :class:`kd_core.Distiller` is: the student stays an
    ordinary classifier, and what is trained with it is saved under ``distiller.`` and never
    exported.

    Args:
        layers: Selectors of the student's layers; ``None`` takes its stages.
    """

    moves_student = True  # or the student is frozen, and something beside it is trained

    def __init__(self, layers: Sequence[str] | None = None) -> None:
        super().__init__()
        self.layers = None if layers is None else [LayerPath.parse(text) for text in layers]
        self.shape_table = ""  # of the student's layers and the other networks, for people
        self._renormalize: dict[str, Renormalize] = {}
        self._teacher_outputs: dict[str, list[Tensor]] = {}  # of this forward
        self._reached = False  # whether the student was seen to have gradients

    def student_layers(self, student: nn.Module) -> list[LayerPath]:
        """Return the student's logits and the method's layers.

        Raises:
            ValueError: If it is no classifier.
        """
        classifier = require_classifier(student, "student")
        self.layers = self.layers or stage_layers(classifier)
        return [LOGITS, *self.layers]

    def dry_run(
        self, student: nn.Module, example: Sequence[Any] | None, forward: Forward | None
    ) -> None:
        """Check that all networks fit the student, and make what needs the shapes of features.

        Raises:
            ValueError: If a layer does not exist, or its layers, classes or images do not fit the
                other networks.
        """
        classifier = require_classifier(student, "student")
        for name, network, _ in self.networks():
            self._meet(classifier, name, network)
        assert self.layers is not None
        with torch.random.fork_rng(devices=[]):  # as if nothing but the student were made
            images = example_of(classifier)
            features = dry_features(classifier, self.layers, images, "student")
            self.prepare(classifier, features, images)
        self.shape_table = network_table(self.layers, features, self.networks())
        print_log(f"Student and other networks:\n{self.shape_table}", "current")

    def images_for(self, name: str, images: Tensor) -> Tensor:
        """Return the student's images (N, 3, H, W) as another network wants them normalized."""
        renormalize = self._renormalize.get(name)
        return images if renormalize is None else renormalize(images, None)

    def run_teacher(self, name: str, images: Tensor, layers: Sequence[LayerPath]) -> list[Tensor]:
        """Run a frozen network on the student's images and return the outputs of some layers.

        Args:
            name: Its name in ``teachers``.
            images: Normalized for the student (N, 3, H, W).
            layers: Its layers; each picks one tensor.
        """
        wanted = {"": {"": layers}}
        teacher_outputs = self.teachers[name].run((self.images_for(name, images),), {}, wanted)
        found = flat(teacher_outputs[""][""])
        require_channels_first(found, layers, images, name)
        return found

    def run(
        self, name: str, network: nn.Module, images: Tensor, layers: Sequence[LayerPath]
    ) -> list[Tensor]:
        """Run a trained network likewise, with gradients."""
        found = read_layers(network, layers, self.images_for(name, images), whose=name)
        require_channels_first(found, layers, images, name)
        return found

    def prepare(self, student: Classifier, features: list[Tensor], images: Tensor) -> None:
        """Make what needs the shapes of features, and check them; nothing by default.

        Args:
            student: The student.
            features: Its features at the method's layers, of the images.
            images: Two random ones (2, 3, H, W).

        Raises:
            ValueError: If the features do not fit.
        """

    def teacher_layers(self, iteration: int) -> dict[str, list[LayerPath]]:
        """Return the layers of frozen networks, by name, that an iteration needs; none by default.

        A network that no weight needs is left out, and does not run.
        """
        return {}

    @abstractmethod
    def compare(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of a batch, as :meth:`post_forward` does."""

    def pre_forward(
        self, student: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Run the frozen networks before the student keeps its activations."""
        images = named_arguments(student, args, kwargs)["inputs"]
        wanted = self.teacher_layers(self.current_iteration())
        self._teacher_outputs = {
            name: self.run_teacher(name, images, layers) for name, layers in wanted.items()
        }

    def owner(self, loss: str) -> str:
        """Name the network that diverges if this loss is not finite; "" if none is to blame."""
        return "the student" if loss == "loss_ce" else ""

    def post_forward(self, call: Call) -> dict[str, Tensor]:
        """Compare, and require that every network converges.

        Raises:
            ValueError: If the student's forward has no labels, features do not fit, or no gradient
                flows into the student's layers (looked at in the first step).
            FloatingPointError: If a loss is not finite; names the network that diverges.
        """
        known = call.named()
        if known.get("labels") is None:
            raise ValueError(f"{type(self).__name__} needs the labels of each batch.")
        assert self.layers is not None
        logits, *features = flat(call.hooks.read([LOGITS, *self.layers]))
        if self.moves_student and not self._reached:
            require_gradients(type(self).__name__, {"": self.layers}, {"": features})
            self._reached = True
        teacher_outputs, self._teacher_outputs = self._teacher_outputs, {}
        result = self.compare(
            Batch(
                known["inputs"],
                known["labels"],
                logits,
                features,
                teacher_outputs,
                call.task,
                call.iteration,
            )
        )
        losses = {name: value for name, value in call.task.items() if "loss" in name} | result
        self._require_convergence(losses, call.iteration)
        return result | self.idle_loss(self.parameters())

    def _meet(self, student: Classifier, name: str, network: nn.Module) -> None:
        other = require_same_task(student, name, network)
        renormalize = Renormalize(student.data_preprocessor, other.data_preprocessor)
        if renormalize.needed:
            self._renormalize[name] = renormalize

    def _require_convergence(self, losses: Mapping[str, Tensor], iteration: int) -> None:
        try:
            check_finite(losses, iteration)
        except FloatingPointError as error:
            lost = [name for name, value in losses.items() if not torch.isfinite(value)]
            owners = sorted({self.owner(name) for name in lost} - {""})
            if not owners:
                raise
            raise FloatingPointError(
                f"every network must converge, but at iteration {iteration} {' and '.join(owners)} "
                f"diverged ({', '.join(f'{name} is {losses[name].item()}' for name in lost)}). "
                "Lower its learning rate (paramwise_cfg has one for each network), or take "
                "another network."
            ) from error
