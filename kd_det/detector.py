"""Distilled detectors: the type of a config's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from kd_det.adapter import DetectorAdapter
from kd_det.backbones import whole_teacher
from kd_engine.distilled import build_distilled

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
