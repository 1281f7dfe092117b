"""Initial weights of a training: ``Pretrained`` parts, ``load_from``, and what is inherited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from kd_core.checkpoint.inherit import Inherit
from kd_core.term import ONLY_TEACHER
from kd_engine.build import student_config, without_initial_weights
from kd_engine.evaluate import build_model, referred_model
from kd_engine.weights.inherit import inherit_at_start, inherit_now
from kd_engine.weights.pretrained import initialize_strictly
from kd_engine.weights.source import OPTIONS, WeightSource

_PRETRAINED = "Pretrained"


def initial_source(config: Config) -> WeightSource | None:
    """Return where a config's ``load_from`` and ``load_options`` say that training starts.

    Args:
        config: A run's config. ``load_from`` is a file or URL of weights for the whole student;
            ``load_options = dict(allow_partial=False, key=None, prefix=None)``.

    Raises:
        ValueError: If ``load_from`` is not a text, or ``load_options`` has another key or stands
            alone.
    """
    options = dict(config.get("load_options") or {})
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise ValueError(
            f"load_options may have {', '.join(OPTIONS)}, but it has {', '.join(unknown)}."
        )
    checkpoint = config.get("load_from")
    if not isinstance(checkpoint, str | None):
        raise ValueError(
            f"load_from must be a file or URL, but it is {checkpoint!r}. How it is read goes into "
            "load_options=dict(allow_partial=, key=, prefix=)."
        )
    if options and not checkpoint:
        raise ValueError("load_options say how load_from is read, but there is no load_from.")
    return WeightSource.of({"checkpoint": checkpoint or None, **options})


def check_initial_weights(config: Config) -> list[str]:
    """Load the student's initial weights once, as training will.

    The student is built alone, and random numbers continue as if it had not been.

    Args:
        config: A run's config, distilled or plain.

    Returns:
        Lines that name its initial weights; none for a student that starts as it is built.

    Raises:
        FileNotFoundError: If a file is absent.
        kd_core.checkpoint.CheckpointError: If one is unsafe, broken or does not fit.
        ValueError: If ``load_options`` are wrong.
    """
    source, plain = initial_source(config), student_config(config.model)
    if source is None and not _has_pretrained(plain):
        return []
    whole = source is not None and not source.allow_partial
    with torch.random.fork_rng(devices=[]):
        student = build_model(config, without_initial_weights(plain) if whole else plain)
        return load_initial_weights(student, config)


def check_inherit(config: Config) -> None:
    """Require that a student can inherit what its config says, before its teacher is trained.

    Both are built without their weights, and random numbers continue as if they had not been.

    Args:
        config: A run's config, distilled or plain.

    Raises:
        ValueError: If ``inherit`` is wrong, or something does not fit.
    """
    model = config.model
    if not model.get("inherit"):
        return
    references = model.get("teachers") or {ONLY_TEACHER: model["teacher"]}
    with torch.random.fork_rng(devices=[]):
        student, *teachers = (
            build_model(config, without_initial_weights(one))
            for one in (student_config(model), *map(referred_model, references.values()))
        )
    Inherit.of(model.inherit).check(student, dict(zip(references, teachers, strict=True)))


def load_initial_weights(student: Any, config: Config) -> list[str]:
    """Give a student the weights that training starts from.

    Args:
        student: The student that the config describes, attached to a distiller or not.
        config: A run's config.

    Returns:
        Lines that say where they come from; none where the student starts as it is built.

    Raises:
        FileNotFoundError: If a file is absent.
        kd_core.checkpoint.CheckpointError: If one is unsafe, broken or does not fit.
        ValueError: If ``load_options`` are wrong.
    """
    source = initial_source(config)
    lines = initialize_strictly(student)
    if source is not None:
        report = source.load_into(student)
        what = "all of it" if report.complete else f"{len(report.loaded)} keys of it"
        lines.append(f"{what}: {source.checkpoint}")
    return lines + inherit_now(student)


def start_from_initial_weights(runner: Runner, config: Config) -> None:
    """Let a runner load ``load_from`` as strictly as a teacher, and inherit, unless it resumes.

    Args:
        runner: A runner that has not trained yet.
        config: Its config.
    """
    if config.get("resume"):
        return
    source = initial_source(config)
    if source is not None:
        runner._load_from = None  # mmengine's own loading takes what fits, and the iteration too
    runner.register_hook(_LoadInitialWeights(source), priority="VERY_HIGH")


class _LoadInitialWeights(Hook):  # type: ignore[misc]
    """Load the student's weights before the first iteration, after they were initialized."""

    def __init__(self, source: WeightSource | None) -> None:
        self.source = source

    def before_train(self, runner: Any) -> None:
        """Load them, then inherit."""
        model: nn.Module = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if self.source is not None:
            report = self.source.load_into(model)
            print_log(f"The student starts from {len(report.loaded)} keys of "
                      f"{self.source.checkpoint}.", "current")  # fmt: skip
        inherit_at_start(model)


def _has_pretrained(node: Any) -> bool:
    """Return whether a part of a model config has a ``Pretrained``."""
    if isinstance(node, list | tuple):
        return any(_has_pretrained(item) for item in node)
    if not isinstance(node, Mapping):
        return False
    kind = node.get("type")
    named = kind == _PRETRAINED or getattr(kind, "__name__", "") in (_PRETRAINED, "PretrainedInit")
    named = named or isinstance(node.get("pretrained"), str)  # mmdet's older way to say it
    return named or any(_has_pretrained(item) for item in node.values())
