"""Adapter of a task whose models are built from configs: images, dry runs, forwards."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kd_core import FrozenTeacher, Term
from kd_core.layers import LayerPath
from kd_core.methods.adapter import TaskAdapter
from kd_core.teacher import Forward
from kd_engine.data.renormalize import Renormalize
from kd_engine.data.rescale import Rescale
from kd_engine.networks import wanted_image_size


class ModelAdapter(TaskAdapter):
    """Base class of adapters for :func:`kd_engine.distilled.build_distilled`.

    The defaults are those of mmengine's models of images (N, 3, H, W).
    """

    scope: str | None = None  # of the registry in which models are built outside of a run
    scored_by: str | None = None  # child with the weights of classes that loading leaves out

    def image_size(self, *models: nn.Module) -> tuple[int, int]:
        """Return height and width of images that models take: the first fixed size of them."""
        found = (wanted_image_size(model) for model in models)
        return next((size for size in found if size is not None), (128, 128))

    def example(self, network: nn.Module) -> Tensor:
        """Draw two images of the network's size, on its device."""
        images = torch.randn(2, 3, *self.image_size(network))
        parameter = next(network.parameters())
        return images.to(parameter.device, parameter.dtype)

    def arguments(self, size: tuple[int, int]) -> tuple[Any, ...]:
        """Return random arguments of a forward of two images.

        Args:
            size: Height and width in pixels.
        """
        return (torch.randn(2, 3, *size),)

    def convert(self, student: nn.Module, network: nn.Module) -> Renormalize | None:
        """Return what undoes the student's normalization and applies the other network's."""
        renormalize = Renormalize(_preprocessor(student), _preprocessor(network))
        return renormalize if renormalize.needed else None

    def extra_inputs(self, named: Mapping[str, Any]) -> dict[str, Any]:
        """Return what losses may need besides the layers, such as boxes; nothing by default.

        Args:
            named: Arguments of the student's forward, by name.
        """
        return {}

    def require_scalable(self, layers: Iterable[LayerPath]) -> None:
        """Require that a teacher's layers can be read on images of another size; all by default.

        Raises:
            ValueError: If one needs more than the images.
        """

    def require_sizes(
        self, student: nn.Module, teacher: nn.Module, rescale: Rescale | None
    ) -> None:
        """Require that a teacher takes the images that it gets; nothing by default.

        Args:
            student: The student.
            teacher: The teacher.
            rescale: What its images are resized to; ``None`` for the student's own.

        Raises:
            ValueError: If it takes images of another size, or none at all.
        """

    def score_layers(self, teacher: nn.Module) -> str | None:
        """Return the layer that gives maps of class scores, for masks; ``None`` if there is none.

        Args:
            teacher: The teacher.
        """
        return None

    def require_pair(
        self, student: nn.Module, teacher: nn.Module, terms: Mapping[str, Term]
    ) -> None:
        """Require that terms can compare a student with a teacher; nothing by default.

        Raises:
            ValueError: If one of the two is not a model of the task, or images or classes differ.
        """

    def pick_classes(self, teacher: nn.Module, wanted: Sequence[str], known: Sequence[str]) -> None:
        """Let a teacher's scores be of the student's classes alone, by name; not by default.

        Raises:
            ValueError: If the task has no such mapping, or the teacher lacks a class.
        """
        raise ValueError(
            "classes of a teacher are mapped by name for detectors alone. Leave them out."
        )

    def make_readable(self, model: nn.Module, layers: Iterable[LayerPath]) -> None:
        """Change what hides the output of a model's layers from a hook; nothing by default.

        Its results stay the same.
        """

    def follows(
        self, student: nn.Module, teacher: nn.Module, terms: Mapping[str, Term]
    ) -> dict[str, LayerPath]:
        """Return the student's layers that a teacher must follow; see :class:`FrozenTeacher`.

        None by default.
        """
        return {}

    def try_sizes(
        self,
        student: nn.Module,
        teacher: FrozenTeacher,
        wanted: Mapping[str, Mapping[str, Sequence[LayerPath]]],
        size: tuple[int, int],
    ) -> None:
        """Try a teacher on other sizes of images that training can bring; nothing by default.

        Args:
            student: The student, whose preprocessor decides about them.
            teacher: The teacher.
            wanted: Term, then role, to the teacher's layers.
            size: Height and width in pixels of the dry run.

        Raises:
            ValueError: If it does not take one.
        """

    def forward(self, modules: Iterable[str], convert: Renormalize | None = None) -> Forward:
        """Return how a model is run, ``forward(model, *args, **kwargs)`` with those of a batch.

        Args:
            modules: Dotted paths of the layers that are read.
            convert: What turns the images into the model's.
        """
        roots = frozenset(path.split(".")[0] for path in modules)
        return functools.partial(self.run, roots, convert or _as_they_are)

    def run(
        self, roots: frozenset[str], convert: Any, model: Any, inputs: Tensor, *_: Any, **__: Any
    ) -> Any:
        """Run a model on a batch, and no more of it than the selected layers need.

        Args:
            roots: First parts of their paths, such as ``backbone``.
            convert: Turns images, and the samples of a detector, into the model's images.
            model: The model.
            inputs: Images (N, 3, H, W), normalized for the student; then all else of a batch.
        """
        return model(convert(inputs))


def _as_they_are(images: Tensor, samples: Any = None) -> Tensor:
    return images


def _preprocessor(model: nn.Module) -> nn.Module:
    found = getattr(model, "data_preprocessor", None)
    if not isinstance(found, nn.Module):
        raise ValueError(
            f"{type(model).__name__} has no data_preprocessor, so it is no mmengine model. Use "
            "kd_core.Distiller for other models."
        )
    return found
