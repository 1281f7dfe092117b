"""Distilled detectors: the type of a config's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from kd_det.adapter import DetectorAdapter
from kd_engine.distilled import build_distilled

ADAPTER = DetectorAdapter()


def DistilledDetector(  # noqa: N802  a config names it as a type
    student: Mapping[str, Any],
    terms: Mapping[str, Mapping[str, Any]],
    teacher: Mapping[str, Any] | None = None,
    teachers: Mapping[str, Mapping[str, Any]] | None = None,
    gradient_shares: Mapping[str, Any] | None = None,
    dry_run_size: tuple[int, int] = (256, 256),
    inherit: Any = None,
) -> nn.Module:
    """Build a student, any detector of mmdet, and a frozen teacher, and attach a distiller.

    See :func:`kd_engine.distilled.build_distilled` for the arguments.
    """
    return build_distilled(
        ADAPTER, student, terms, teacher, teachers, gradient_shares, dry_run_size, inherit
    )
