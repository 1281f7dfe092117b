"""An ordinary classifier with a teacher attached."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from kd_cls.classifier import Classifier, image_size_of, require_one_size
from kd_core import Distiller, FrozenTeacher, GradientShares, Term
from kd_core.term import layers_of
from kd_engine.build import build_distilled
from kd_engine.data.renormalize import Renormalize

_LOGITS = ("logits", "network")  # both give the class scores


def DistilledClassifier(  # noqa: N802  a config names it as a type
    student: Mapping[str, Any],
    teacher: Mapping[str, Any],
    terms: Mapping[str, Mapping[str, Any]],
    gradient_shares: Mapping[str, Any] | None = None,
    dry_run_size: tuple[int, int] | None = None,
) -> nn.Module:
    """Build a student classifier, a frozen teacher, and attach a distiller.

    What comes back is the student itself: it trains, classifies, saves and exports as ever, and
    returns ``loss_<term>`` beside its ``loss_ce`` in training.

    Args:
        student: Config of a :class:`Classifier`.
        teacher: ``dict(config=, checkpoint=, allow_partial=False, precision=None)``. ``config``
            is a file or a model config.
        terms: Name to ``dict(loss=, layers=, teacher_layers=, weight=, schedule=)``.
        gradient_shares: ``dict(layer=, interval=50)`` logs each term's share of the gradient
            norm at one of the student's layers.
        dry_run_size: Height and width in pixels of the images of the dry run; ``None`` takes what
            student or teacher wants, and else 32 x 32.

    Returns:
        The student, with the distiller as its child ``distiller``.

    Raises:
        ValueError: If a layer does not exist, shapes do not fit, or logits of different classes
            are compared.
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
        student: The classifier to train.
        teacher: The trained one.
        terms: Name to term.
        precision: Autocast dtype of the teacher's forward.
        gradient_shares: Where and how often to log gradient shares.
        dry_run_size: Height and width in pixels of the dry run; ``None`` takes what student or
            teacher wants, and else 32 x 32.

    Returns:
        The distiller.

    Raises:
        ValueError: If one of the two is no classifier, they take images of different size, or
            logits of different classes are compared.
    """
    if not (isinstance(student, Classifier) and isinstance(teacher, Classifier)):
        raise ValueError(
            f"student and teacher must be classifiers, but they are {type(student).__name__} and "
            f"{type(teacher).__name__}. Use kd_core.Distiller for other models."
        )
    require_one_size(student, teacher, "the teacher's")
    _check_classes(student, teacher, terms)
    renormalize = Renormalize(student.data_preprocessor, teacher.data_preprocessor)
    forward = ClassifierForward(renormalize if renormalize.needed else None)
    distiller = Distiller(FrozenTeacher(teacher, forward, precision), terms, gradient_shares)
    example = (torch.randn(2, 3, *(dry_run_size or image_size_of(student, teacher))),)
    distiller.attach(student, example, ClassifierForward())
    print_log(f"Layers of student and teacher:\n{distiller.shape_table}", "current")
    return distiller


def compares_logits(term: Term) -> bool:
    """Return whether a term takes the class scores of student or teacher."""
    sides = (layers_of({"": term}, side) for side in ("student", "teacher"))
    return any(layer.module in _LOGITS for layers in sides for layer in layers)


class ClassifierForward:
    """Run a classifier on a batch of its student.

    Args:
        renormalize: What to do with the images first.
    """

    def __init__(self, renormalize: Renormalize | None = None) -> None:
        self.renormalize = renormalize

    def __call__(
        self,
        model: Any,
        inputs: Tensor,
        labels: Any = None,
        ids: Any = None,
        data_samples: None = None,
        mode: str = "tensor",
    ) -> Any:
        """Classify images.

        Args:
            model: The classifier.
            inputs: Images (N, 3, H, W), normalized for the student.
            labels: Not used.
            ids: Not used.
            data_samples: Not used.
            mode: Not used: the classifier runs as "tensor".

        Returns:
            Logits (N, classes).
        """
        return model(inputs if self.renormalize is None else self.renormalize(inputs, None))


def _check_classes(student: Classifier, teacher: Classifier, terms: Mapping[str, Term]) -> None:
    """Refuse a comparison of logits that stand for different classes."""
    if student.num_classes == teacher.num_classes:
        return
    for name, term in terms.items():
        if compares_logits(term):
            raise ValueError(
                f"term {name!r} compares logits, so student and teacher must have the same "
                f"classes, but the student has {student.num_classes} and the teacher "
                f"{teacher.num_classes}. Take a teacher of the student's data, or compare other "
                "layers alone."
            )
