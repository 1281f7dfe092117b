"""Models from configs that are distilled from an average, or snapshots, of their own weights."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from kd_core import GradientShares
from kd_core.following import Following
from kd_core.self_distiller import SelfDistiller
from kd_engine.adapter import ModelAdapter
from kd_engine.build import build_terms
from kd_engine.distilled import attach


def build_self_distilled(
    adapter: ModelAdapter,
    student: Mapping[str, Any],
    terms: Mapping[str, Mapping[str, Any]],
    following: Following,
    gradient_shares: Mapping[str, Any] | None = None,
    dry_run_size: tuple[int, int] | None = None,
) -> nn.Module:
    """Build a student and attach its earlier self; see :class:`kd_core.self_distiller`.

    Args:
        adapter: The task.
        student: Model config of the student.
        terms: Name to options of a term, as of :func:`kd_engine.distilled.build_distilled`; each
            has the one teacher.
        following: How the earlier self follows.
        gradient_shares: ``dict(layer=, interval=50)`` logs shares of the gradient norm.
        dry_run_size: Height and width in pixels of the images of the dry run; ``None`` takes what
            suits the student.

    Returns:
        The student, with the distiller as its child ``distiller``.

    Raises:
        ValueError: If a term's weight is measured, it names another teacher, a layer does not
            exist, or shapes do not fit.
    """
    scope = adapter.scope if DefaultScope.get_current_instance() is None else None
    with DefaultScope.overwrite_default_scope(scope):
        model: nn.Module = MODELS.build(ConfigDict(student))
        shares = None if gradient_shares is None else GradientShares(**gradient_shares)
        with torch.random.fork_rng(devices=[]):
            attach(
                adapter,
                model,
                copy.deepcopy(model),
                build_terms(terms),
                gradient_shares=shares,
                dry_run_size=dry_run_size,
                kind=functools.partial(SelfDistiller, following=following),
            )
    return model
