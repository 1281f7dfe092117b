"""Distilled detectors: types of a config's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from kd_core.following import Following
from kd_det.adapter import DetectorAdapter
from kd_det.backbones import whole_teacher
from kd_engine.distilled import build_distilled
from kd_engine.self_distilled import build_self_distilled

ADAPTER = DetectorAdapter()


def DistilledDetector(  # noqa: N802  a config names it as a type
    student: Mapping[str, Any],
    terms: Mapping[str, Mapping[str, Any]],
    teacher: Mapping[str, Any] | None = None,
    teachers: Mapping[str, Mapping[str, Any]] | None = None,
    gradient_shares: Mapping[str, Any] | None = None,
    dry_run_size: tuple[int, int] | None = None,
    inherit: Any = None,
) -> nn.Module:
    """Build a student, any detector of mmdet, and a frozen teacher, and attach a distiller.

    See :func:`kd_engine.distilled.build_distilled` for the arguments; a teacher may also be a
    backbone alone: see :func:`kd_det.backbones.whole_teacher`. Without ``dry_run_size`` the dry run
    takes the size of a detector that has a fixed one, such as SSD300, otherwise 256 x 256.
    """
    if isinstance(teacher, Mapping):
        teacher = whole_teacher(teacher)
    if isinstance(teachers, Mapping):
        teachers = {key: whole_teacher(one, f"teachers.{key}") for key, one in teachers.items()}
    return build_distilled(
        ADAPTER, student, terms, teacher, teachers, gradient_shares, dry_run_size, inherit
    )


def SelfTeacher(  # noqa: N802  a config names it as a type
    student: Mapping[str, Any],
    terms: Mapping[str, Mapping[str, Any]],
    momentum: float = 0.999,
    every: int = 0,
    gradient_shares: Mapping[str, Any] | None = None,
    dry_run_size: tuple[int, int] | None = None,
) -> nn.Module:
    """Build a student, any detector of mmdet, that learns from its own earlier weights.

    Its teacher is the average of its weights (EMA), or a copy of it that is taken anew every few
    epochs: see :class:`kd_core.self_distiller.SelfDistiller`. Terms and all else are those of
    :func:`DistilledDetector`.

    Args:
        student: Model config of the student.
        terms: Name to options of a term on backbone, neck or heads.
        momentum: Share of the earlier weights in the average, from 0 to below 1.
        every: Epochs between copies; 0 takes the average.
        gradient_shares: As of :func:`DistilledDetector`.
        dry_run_size: As of :func:`DistilledDetector`.

    Returns:
        The student, with the distiller as its child ``distiller``.

    Raises:
        ValueError: If a number is out of range, a term's weight is "auto", a layer does not exist,
            or shapes do not fit.
    """
    following = Following(momentum, every)
    return build_self_distilled(ADAPTER, student, terms, following, gradient_shares, dry_run_size)
