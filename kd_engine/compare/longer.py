"""Longer training of a config: its epochs, and every schedule in them, times a factor."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from kd_engine.config.keys import listed

_KNOWN = (
    "ConstantLR", "CosineAnnealingLR", "CosineRestartLR", "ExponentialLR", "LinearLR",
    "MultiStepLR", "OneCycleLR", "PolyLR", "ReduceOnPlateauLR", "StepLR", "QuadraticWarmupLR",
)  # fmt: skip
# Settings of schedules, loops and hooks that are times.
_OF_SCHEDULES = ("begin", "end", "T_max", "step_size", "total_steps", "milestones", "periods",
                 "patience", "cooldown")  # fmt: skip
_OF_LOOPS = ("max_epochs", "max_iters", "val_interval", "val_begin")
_OF_HOOKS = ("switch_epoch", "num_last_epochs", "begin_epoch", "begin_iter", "patience")
_FOREVER = 1_000_000_000  # mmengine's end of a schedule that has none


def longer(config: Config, factor: float) -> Config:
    """Return a config whose training is longer, with the same shape of all schedules.

    Args:
        config: A run's config; it is not changed.
        factor: Times that it is as long. Numbers of epochs are rounded up, so that the longer
            training has at least the time.

    Returns:
        The config. Its learning rates take the same values at the same share of the run.

    Raises:
        ValueError: If the factor is not above 0, or the length or a schedule is of a kind that is
            not known here.
    """
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"a training must be longer by a factor above 0, but it is {factor}.")
    content = copy.deepcopy(config.to_dict())
    loop = content["train_cfg"]
    units = [key for key in ("max_epochs", "max_iters") if loop.get(key) is not None]
    if not units:
        raise ValueError(
            "a longer training needs the config's length, but its train_cfg has neither max_epochs "
            f"nor max_iters: {loop}. Leave --equal-time out."
        )
    before = loop[units[0]]
    times = math.ceil(before * factor - 1e-9) / before  # whole epochs
    _scale(loop, _OF_LOOPS, times)
    if loop.get("dynamic_intervals"):
        loop["dynamic_intervals"] = [
            [_times(number, times) for number in pair] for pair in loop["dynamic_intervals"]
        ]
    for schedule in listed(content.get("param_scheduler")):
        _scale_schedule(schedule, times)
    for hook in (*listed(content.get("custom_hooks")), *_default_hooks(content)):
        if isinstance(hook, dict):
            _scale(hook, _OF_HOOKS, times)
    return Config(content)


def _scale_schedule(schedule: dict[str, Any], factor: float) -> None:
    kind = str(schedule.get("type")).rpartition(".")[2]
    parameter = kind.replace("ParamScheduler", "LR").replace("Momentum", "LR")
    if parameter not in _KNOWN:
        raise ValueError(
            "a longer training must stretch every schedule, but param_scheduler has a "
            f"{schedule.get('type')!r}, whose times are not known here. Known: "
            f"{', '.join(_KNOWN)}. Write a config with more epochs and compare that, without "
            "--equal-time."
        )
    _scale(schedule, _OF_SCHEDULES, factor)
    if parameter == "ExponentialLR":  # once a step
        schedule["gamma"] = schedule["gamma"] ** (1 / factor)


def _scale(settings: dict[str, Any], keys: tuple[str, ...], factor: float) -> None:
    for key in keys:
        value = settings.get(key)
        if isinstance(value, list | tuple):
            settings[key] = [_times(item, factor) for item in value]
        elif isinstance(value, int) and not isinstance(value, bool):
            settings[key] = _times(value, factor)


def _times(number: int, factor: float) -> int:
    """Stretch a time; 0 and what has no end stay."""
    if number <= 0 or number >= _FOREVER:
        return number
    return max(1, round(number * factor))


def _default_hooks(content: Mapping[str, Any]) -> list[Any]:
    hooks: Mapping[str, Any] = content.get("default_hooks") or {}
    return list(hooks.values())
