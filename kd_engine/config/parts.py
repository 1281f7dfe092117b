"""Checks of a run's parts: types and settings against what the named classes take.

mmengine makes hooks, optimizers, schedulers, evaluators and datasets one after another, some of
them late; a misspelled setting of a checkpoint hook ends a run after its first epoch. The model is
not checked here: it is built as a whole.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    EVALUATOR,
    HOOKS,
    LOOPS,
    METRICS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
    VISUALIZERS,
    Registry,
    init_default_scope,
)
from mmengine.runner import Runner

from kd_engine.build import student_config
from kd_engine.config.keys import require_settings
from kd_engine.errors import nearest_names, unknown_type

Part = tuple[str, Mapping[str, Any], Registry]
_TRAINING = ("model", "train_dataloader", "train_cfg", "optim_wrapper")
# What mmengine takes out of a part's settings before the part is made.
_RESERVED = (
    "type", "_scope_", "priority", "convert_to_iter_based", "constructor", "paramwise_cfg"
)  # fmt: skip


def require_training(config: Mapping[str, Any]) -> None:
    """Require the parts that a training is made from.

    Raises:
        ValueError: Names what the config lacks, or says that its student is not a model.
    """
    require_settings(config, _TRAINING, "trained")
    student_config(config["model"])


def check_parts(config: Config) -> None:
    """Require that every part's type is known and that it takes the settings that it is given.

    Args:
        config: A run's config; its packages must be imported.

    Raises:
        ValueError: Names the place in the config, the value, and the nearest names.
    """
    init_default_scope(config.get("default_scope") or "mmdet")
    for place, part, registry in _parts(config):
        kind = part.get("type")
        made = kind
        if isinstance(kind, str):
            with registry.switch_scope_and_registry(part.get("_scope_")) as scoped:
                made = scoped.get(kind)
        if made is None:
            raise ValueError(f"{place}: {unknown_type(str(kind), registry.name)}")
        known = _settings(made)
        if known is None:
            continue
        for key in part:
            if key not in known and key not in _RESERVED:
                raise ValueError(
                    f"{place}: {getattr(made, '__name__', kind)} has no setting {key!r}."
                    f"{nearest_names(key, known)} Correct the config."
                )
    _check_randomness(config.get("randomness") or {})
    _check_batch_sizes(config)


def _parts(config: Mapping[str, Any]) -> Iterator[Part]:
    wrapper = config.get("optim_wrapper") or {}
    if "optimizer" in wrapper:
        yield from _typed("optim_wrapper", wrapper, OPTIM_WRAPPERS)
        yield from _typed("optim_wrapper.optimizer", wrapper["optimizer"], OPTIMIZERS)
    yield from _typed("param_scheduler", config.get("param_scheduler"), PARAM_SCHEDULERS)
    for name, hook in (config.get("default_hooks") or {}).items():
        yield from _typed(f"default_hooks.{name}", hook, HOOKS)
    yield from _typed("custom_hooks", config.get("custom_hooks"), HOOKS)
    yield from _typed("visualizer", config.get("visualizer"), VISUALIZERS)
    for stage in ("train", "val", "test"):
        yield from _typed(f"{stage}_cfg", _loop(stage, config.get(f"{stage}_cfg")), LOOPS)
        yield from _evaluators(f"{stage}_evaluator", config.get(f"{stage}_evaluator"))
        loader = config.get(f"{stage}_dataloader")
        if isinstance(loader, Mapping):
            yield from _typed(f"{stage}_dataloader.sampler", loader.get("sampler"), DATA_SAMPLERS)
            yield from _data(f"{stage}_dataloader.dataset", loader.get("dataset"))


def _loop(stage: str, value: Any) -> Any:
    """Return a loop's config with the type that mmengine's Runner gives it."""
    if not isinstance(value, Mapping) or "type" in value:
        return value
    by_epoch = value.get("by_epoch", True)
    kinds = {
        "train": "EpochBasedTrainLoop" if by_epoch else "IterBasedTrainLoop",
        "val": "ValLoop",
        "test": "TestLoop",
    }
    return {"type": kinds[stage], **{k: v for k, v in value.items() if k != "by_epoch"}}


def _typed(place: str, value: Any, registry: Registry) -> Iterator[Part]:
    """Yield a config with a type, or those of a list."""
    if isinstance(value, Mapping) and "type" in value:
        yield place, value, registry
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, item in enumerate(value):
            yield from _typed(f"{place}.{number}", item, registry)


def _evaluators(place: str, value: Any) -> Iterator[Part]:
    whole = isinstance(value, Mapping) and EVALUATOR.get(str(value.get("type"))) is not None
    yield from _typed(place, value, EVALUATOR if whole else METRICS)
    if whole:
        yield from _typed(f"{place}.metrics", value.get("metrics"), METRICS)


def _data(place: str, value: Any) -> Iterator[Part]:
    yield from _typed(place, value, DATASETS)
    if not isinstance(value, Mapping):
        return
    yield from _typed(f"{place}.pipeline", value.get("pipeline"), TRANSFORMS)
    if "dataset" in value:
        yield from _data(f"{place}.dataset", value["dataset"])
    for number, item in enumerate(value.get("datasets") or ()):
        yield from _data(f"{place}.datasets.{number}", item)


def _settings(made: Any) -> set[str] | None:
    """Return the names that something takes; None if it takes any."""
    if not inspect.isclass(made):
        return _named(made)
    known: set[str] = set()
    for owner in made.__mro__:
        if "__init__" not in vars(owner):
            continue
        if owner is object:
            return None
        found = _named(vars(owner)["__init__"], known)
        if found is not None:
            return found
        if issubclass(owner, CheckpointHook):  # hands the rest to Runner.save_checkpoint
            return _named(Runner.save_checkpoint, known)
    return None


def _named(function: Any, known: set[str] | None = None) -> set[str] | None:
    """Add a function's parameters to ``known``; None if it passes unknown ones on."""
    known = set() if known is None else known
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    known.update(one.name for one in parameters)
    return None if any(one.kind is one.VAR_KEYWORD for one in parameters) else known


def _check_randomness(randomness: Mapping[str, Any]) -> None:
    known = _named(Runner.set_randomness) or set()
    for key in randomness:
        if key not in known:
            raise ValueError(f"randomness has no setting {key!r}.{nearest_names(key, known)}")


def _check_batch_sizes(config: Mapping[str, Any]) -> None:
    for stage in ("train", "val", "test"):
        size = (config.get(f"{stage}_dataloader") or {}).get("batch_size", 1)
        if not isinstance(size, int) or size < 1:
            raise ValueError(
                f"{stage}_dataloader.batch_size must be a whole number from 1 on, but it is "
                f"{size!r}."
            )
