"""Base class of the methods with more networks than a student and a frozen teacher."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.base_distiller import BaseDistiller, Call
from kd_core.layers import LayerPath, levels_of
from kd_core.methods.adapter import Convert, TaskAdapter
from kd_core.teacher import Forward, FrozenTeacher, eval_mode, named_arguments, read_layers


@dataclass(frozen=True)
class Batch:
    """Batch of images, with the student's outputs for it.

    Attributes:
        images: As the student gets them (N, C, H, W).
        labels: Class of each image, int64 (N,).
        ids: What numbers each image in the training set, int64 (N,); ``None`` if nobody says.
        output: The student's logits (N, classes) or embeddings (N, D).
        features: The student's at the method's layers, from shallow to deep: maps (N, C, H, W) or
            vectors (N, D).
        teacher_outputs: Outputs of the frozen networks' layers, by name of the network.
        task: The student's own losses.
        iteration: Counted from 0.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor | None
    output: Tensor
    features: list[Tensor]
    teacher_outputs: Mapping[str, list[Tensor]]
    task: Mapping[str, Any]
    iteration: int


class NetworksDistiller(BaseDistiller):
    """A student together with other networks, trained or frozen.

    It is attached to the student as a :class:`kd_core.Distiller` is: the student stays an
    ordinary model, and what is trained with it is saved under ``distiller.`` and never exported.

    The method's losses are put into the dict that a student returns. In a loop of your own,
    ``losses(labels=labels)`` returns all losses, including the student's own: their sum is the
    whole loss.

    Args:
        layers: Selectors of the student's layers; ``None`` takes its stages.
        teachers: Name to frozen network.
        adapter: The task; the default is that of plain classifiers.
    """

    moves_student = True  # or the student is frozen, and something else is trained
    needs_example = False  # whether modules are made by the shapes of a dry run

    def __init__(
        self,
        layers: Sequence[str] | None = None,
        teachers: Mapping[str, FrozenTeacher] | None = None,
        adapter: TaskAdapter | None = None,
    ) -> None:
        super().__init__(teachers)
        self.adapter = adapter or TaskAdapter()
        self.output = LayerPath.parse(self.adapter.output)
        self.layers = None if layers is None else [LayerPath.parse(text) for text in layers]
        # Of the student's layers and the other networks: name, and shape or number of parameters.
        self.shape_table: list[tuple[str, str]] = []
        self._convert: dict[str, Convert] = {}
        self._teacher_outputs: dict[str, list[Tensor]] = {}  # of this forward
        self._reached = False  # whether the student was found to have gradients

    @abstractmethod
    def compare(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of a batch, as :meth:`post_forward` does."""

    def prepare(self, images: Tensor, output: Tensor, features: list[Tensor]) -> None:
        """Make modules that need the shapes of features, and check these; nothing by default.

        Args:
            images: Those of a dry run.
            output: What the student made of them.
            features: The student's, at the method's layers.

        Raises:
            ValueError: If the features do not fit.
        """

    def check_features(
        self, name: str, features: list[Tensor], layers: Sequence[LayerPath], images: Tensor
    ) -> None:
        """Require features of a network that the method can compare; nothing by default.

        Args:
            name: Which network it is.
            features: Outputs of its layers.
            layers: Those layers.
            images: The images that gave them.

        Raises:
            ValueError: If a feature does not fit.
        """

    def check_gradients(self, features: list[Tensor]) -> None:
        """Require that a gradient flows into the student's layers; checked in the first step.

        Raises:
            ValueError: If none does.
        """
        if not any(feature.requires_grad for feature in features):
            named = ", ".join(repr(layer.text) for layer in self.layers or ())
            raise ValueError(
                f"{type(self).__name__} cannot move the student: no gradient flows into its "
                f"layer(s) {named}. Unfreeze what lies before them (requires_grad=True)."
            )

    def teacher_layers(self, iteration: int) -> dict[str, list[LayerPath]]:
        """Return the layers of frozen networks, by name, that an iteration needs; none by default.

        A network that no weight needs is left out, and does not run.
        """
        return {}

    def loss_owner(self, loss: str) -> str:
        """Return the network that diverges if this loss is not finite; "" if it is unknown."""
        return "the student" if loss == self.adapter.loss else ""

    def run(
        self, name: str, network: nn.Module, images: Tensor, layers: Sequence[LayerPath]
    ) -> list[Tensor]:
        """Run another network on the student's images, and return the outputs of some layers.

        Args:
            name: Which network it is, as in :meth:`networks`.
            network: The network.
            images: As the student gets them (N, C, H, W).
            layers: Its layers; each picks one tensor.

        Raises:
            ValueError: If the outputs do not fit: see :meth:`check_features`.
        """
        convert = self._convert.get(name)
        found = read_layers(network, layers, convert(images) if convert else images, whose=name)
        self.check_features(name, found, layers, images)
        return found

    def run_teacher(self, name: str, images: Tensor, layers: Sequence[LayerPath]) -> list[Tensor]:
        """Run a frozen network likewise, without gradients."""
        convert = self._convert.get(name)
        inputs = (convert(images) if convert else images,)
        found = levels_of(self.teachers[name].run(inputs, {}, {"": {"": layers}})[""][""])
        self.check_features(name, found, layers, images)
        return found

    def dry_outputs(
        self, name: str, network: nn.Module, images: Tensor, layers: Sequence[LayerPath]
    ) -> list[Tensor]:
        """Run a network likewise, in eval mode and without gradients; its modes stay."""
        with torch.no_grad(), eval_mode(network):
            return self.run(name, network, images, layers)

    def student_layers(self, student: nn.Module) -> list[LayerPath]:
        """Return the student's output and the method's layers.

        Raises:
            ValueError: If it is not a network of the task, or does not name its stages.
        """
        self.adapter.require(student, "student")
        if self.layers is None:
            self.layers = [LayerPath.parse(s) for s in self.adapter.stages(student, "student")]
        return [self.output, *self.layers]

    def dry_run(
        self, student: nn.Module, example: Sequence[Any] | None, forward: Forward | None
    ) -> None:
        """Check that all networks fit the student, and make modules that need the shapes.

        Raises:
            ValueError: If the layers, classes or images of networks do not fit the student's, or
                an example is needed and there is none.
        """
        for name, network, _ in self.networks():
            self._meet(student, name, network)
        rows: list[tuple[str, str]] = []
        with torch.random.fork_rng(devices=[]):  # as if only the student were built
            images = example[0] if example else self.adapter.example(student)
            if images is not None:
                rows = self._try(student, images)
            elif self.needs_example:
                raise ValueError(
                    f"{type(self).__name__} makes layers by the shapes of features. Give some "
                    "images: attach(student, example=[images])."
                )
        for name, network, trained in self.networks():
            count = sum(parameter.numel() for parameter in network.parameters())
            rows.append((name, f"{count:,} parameters, {'trained' if trained else 'frozen'}"))
        self.shape_table = rows

    def pre_forward(
        self, student: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Run the frozen networks before the student keeps its activations."""
        wanted = self.teacher_layers(self.current_iteration())
        self._teacher_outputs = {
            name: self.run_teacher(name, _images(student, args, kwargs), layers)
            for name, layers in wanted.items()
        }

    def post_forward(self, call: Call) -> dict[str, Tensor]:
        """Compare, and require that every network converges.

        Raises:
            ValueError: If there are no labels, features do not fit, or no gradient flows into the
                student's layers (checked in the first step).
            FloatingPointError: If a loss is not finite; names the network that diverges.
        """
        known = call.named()
        labels = known.get("labels")
        if labels is None:
            raise ValueError(
                f"{type(self).__name__} needs the labels of each batch. Let the student's forward "
                "take an argument of that name, or give them to losses(labels=labels)."
            )
        assert self.layers is not None
        output, *features = levels_of(call.hooks.read([self.output, *self.layers]))
        if self.moves_student and not self._reached:
            self.check_gradients(features)
            self._reached = True
        teacher_outputs, self._teacher_outputs = self._teacher_outputs, {}
        images = _images(call.student, call.args, call.kwargs)
        own = {} if call.task else self._own_loss(call.student, output, labels)
        task = call.task or own
        count = call.iteration
        ids = known.get("ids")
        batch = Batch(images, labels, ids, output, features, teacher_outputs, task, count)
        result = own | self.compare(batch)
        losses = {name: value for name, value in task.items() if "loss" in name} | result
        self._require_convergence(losses, call.iteration)
        return result | self.idle_loss(self.parameters())

    def _own_loss(self, student: nn.Module, output: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {self.adapter.loss: self.adapter.own_loss(student, output, labels)}

    def _meet(self, student: nn.Module, name: str, network: nn.Module) -> None:
        """Require that a network fits the student, and find out which images it takes."""
        self.adapter.require(network, name)
        self.adapter.require_alike(student, name, network)
        if convert := self.adapter.convert(student, network):
            self._convert[name] = convert

    def _try(self, student: nn.Module, images: Tensor) -> list[tuple[str, str]]:
        """Run the student once, prepare, and return the names and shapes of its layers."""
        assert self.layers is not None
        layers = [self.output, *self.layers]
        output, *features = self.dry_outputs("student", student, images, layers)
        self.prepare(images, output, features)
        pairs = zip(self.layers, features, strict=True)
        return [(f"student {one.text}", "x".join(map(str, found.shape))) for one, found in pairs]

    def _require_convergence(self, losses: Mapping[str, Tensor], iteration: int) -> None:
        if bool(torch.isfinite(torch.stack(list(losses.values()))).all()):
            return
        lost = [name for name, value in losses.items() if not torch.isfinite(value)]
        who = sorted({self.loss_owner(name) for name in lost} - {""})
        raise FloatingPointError(
            f"every network must converge, but at iteration {iteration} "
            f"{' and '.join(who) or 'one of them'} diverged "
            f"({', '.join(f'{name} is {losses[name].item()}' for name in lost)}). Lower its "
            "learning rate (paramwise_cfg has one for each network), or take another network."
        )


def _images(student: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """Return the images of a forward, its first argument."""
    known = named_arguments(student, args, kwargs)
    first: Tensor = known["inputs"] if "inputs" in known else next(iter(known.values()))
    return first
