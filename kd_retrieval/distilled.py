"""An ordinary embedder with a teacher attached."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from kd_core import Distiller, FrozenTeacher, GradientShares, Term
from kd_core.term import layers_of
from kd_engine.build import build_distilled
from kd_engine.data.renormalize import Renormalize
from kd_retrieval.cached_teacher import StoredEmbeddings
from kd_retrieval.embedder import Embedder
from kd_retrieval.trunks import image_size_of


def DistilledEmbedder(  # noqa: N802  a config names it as a type
    student: Mapping[str, Any],
    teacher: Mapping[str, Any],
    terms: Mapping[str, Mapping[str, Any]],
    gradient_shares: Mapping[str, Any] | None = None,
    dry_run_size: tuple[int, int] | None = None,
) -> nn.Module:
    """Build a student embedder, a frozen teacher, and attach a distiller.

    What comes back is the student itself: it trains, embeds, saves and exports as ever, and
    returns ``loss_<term>`` beside its own loss in training.

    Args:
        student: Config of an :class:`Embedder`.
        teacher: ``dict(config=, checkpoint=, allow_partial=False, precision=None)``. ``config``
            is a file or a model config; of ``kd_retrieval.StoredEmbeddings`` the checkpoint is
            ``None``.
        terms: Name to ``dict(loss=, layers=, teacher_layers=, weight=, schedule=)``.
        gradient_shares: ``dict(layer=, interval=50)`` logs each term's share of the gradient
            norm at one of the student's layers.
        dry_run_size: Height and width in pixels of the images of the dry run; ``None`` takes
            what a vision transformer wants, and else 128 x 128.

    Returns:
        The student, with the distiller as its child ``distiller``.

    Raises:
        ValueError: If a layer does not exist or shapes do not fit.
        kd_core.checkpoint.CheckpointError: If the teacher's checkpoint is unsafe, broken or
            does not fit.
    """
    link = functools.partial(attach, dry_run_size=dry_run_size)
    return build_distilled(student, teacher, terms, link, gradient_shares)


def attach(
    student: nn.Module,
    teacher: nn.Module,
    terms: Mapping[str, Term],
    *,
    precision: torch.dtype | None = None,
    gradient_shares: GradientShares | None = None,
    dry_run_size: tuple[int, int] | None = None,
) -> Distiller:
    """Attach a teacher to a student; both exist already.

    Args:
        student: The embedder to train.
        teacher: The trained one.
        terms: Name to term.
        precision: Autocast dtype of the teacher's forward.
        gradient_shares: Where and how often to log gradient shares.
        dry_run_size: Height and width in pixels of the dry run; ``None`` takes what a vision
            transformer wants, and else 128 x 128.

    Returns:
        The distiller.
    """
    forward = EmbedderForward(_paths(terms, "teacher"), _renormalizer(student, teacher))
    distiller = Distiller(FrozenTeacher(teacher, forward, precision), terms, gradient_shares)
    example = (torch.randn(2, 3, *(dry_run_size or image_size_of(student, teacher))),)
    distiller.attach(student, example, EmbedderForward(_paths(terms, "student")))
    print_log(f"Layers of student and teacher:\n{distiller.shape_table}", "current")
    return distiller


class EmbedderForward:
    """Run as little of an embedder as the tapped layers need.

    Args:
        paths: Dotted paths of the tapped layers.
        renormalize: What to do with the images first.
    """

    def __init__(self, paths: Iterable[str], renormalize: Renormalize | None = None) -> None:
        self.trunk_only = {path.split(".")[0] for path in paths} == {"trunk"}
        self.renormalize = renormalize

    def __call__(
        self,
        model: Any,
        inputs: Tensor,
        labels: Any = None,
        ids: Tensor | None = None,
        roles: Any = None,
        data_samples: None = None,
        mode: str = "tensor",
    ) -> Any:
        """Run the embedder on a batch.

        Args:
            model: The embedder.
            inputs: Images (N, 3, H, W), normalized for the student.
            labels: Not used.
            ids: What names each image, int64 (N,), for a teacher of stored embeddings.
            roles: Not used.
            data_samples: Not used.
            mode: Not used: the embedder runs as "tensor".

        Returns:
            Whatever the part that ran returns.
        """
        images = inputs if self.renormalize is None else self.renormalize(inputs, None)
        if self.trunk_only:
            return model.features(images)
        return model(images, ids=ids, mode="tensor")


def _paths(terms: Mapping[str, Term], side: str) -> list[str]:
    return [layer.module for layer in layers_of(terms, side)]


def _renormalizer(student: nn.Module, teacher: nn.Module) -> Renormalize | None:
    if isinstance(teacher, StoredEmbeddings):  # they see no images
        return None
    if not (isinstance(student, Embedder) and isinstance(teacher, Embedder)):
        raise ValueError(
            f"student and teacher must be embedders, but they are {type(student).__name__} and "
            f"{type(teacher).__name__}. Use kd_core.Distiller for other models."
        )
    renormalize = Renormalize(student.data_preprocessor, teacher.data_preprocessor)
    return renormalize if renormalize.needed else None
