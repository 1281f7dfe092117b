"""Fingerprint of a config: a digest of all settings that decide a run's result, but for its seed.

Settings that change nothing (folders of the run, worker processes, logs, tests) are left out, and
paths are written in a way that other machines share: below the current folder, of built-in configs,
below $KD_DATA. A teacher's config counts with its own settings. So a run of the same fingerprint is
the same experiment, wherever it ran.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd_engine.build import student_config
from kd_engine.compare.results import SAME
from kd_engine.config.builtin import SCOPE, configs_folder
from kd_engine.config.changes import DECIDES
from kd_engine.config.compose import is_file_here
from kd_engine.config.file import read_config
from kd_engine.config.keys import listed
from kd_engine.run.prerequisites import references_of

_KEYS = (*DECIDES, "load_from", "load_options", "default_hooks")
_SILENT = (
    "randomness.seed", "*_dataloader.num_workers", "*_dataloader.persistent_workers",
    "*_dataloader.pin_memory", "*_dataloader.prefetch_factor", "*_dataloader.timeout",
    "*_dataloader.multiprocessing_context", "*_dataloader.disable_subprocess_warning",
    "val_dataloader.batch_size", "*.backend_args", "model.dry_run_size", "default_hooks.logger*",
    "default_hooks.timer*", "default_hooks.visualization*", "default_hooks.runtime_info*",
    "default_hooks.checkpoint*", "default_hooks.sampler_seed*", "default_hooks.param_scheduler*",
)  # fmt: skip

_OF_TRANSFORMS = {"pipeline", "transforms", "transform", "test_mode", "metainfo", "lazy_init"}


def fingerprint(config: Config) -> str:
    """Return the digest, 16 hexadecimal digits.

    Args:
        config: A run's whole config; it is not changed.
    """
    return _digest(_decisive(config, ()))


def data_digest(loader: Mapping[str, Any]) -> str:
    """Return a digest of the images that a data loader reads, however they are transformed.

    Args:
        loader: Its config.
    """
    return _digest(_images_of(_plain(loader.get("dataset"), "dataset")))


def digests_of(config: Config) -> dict[str, str]:
    """Return digests of what the arms of a comparison should have in common.

    Args:
        config: A run's whole config.

    Returns:
        Name, of :data:`kd_engine.compare.results.SAME`, to digest.
    """
    dataset = _plain(config.train_dataloader.get("dataset"), "dataset")
    parts = (
        student_config(config.to_dict()["model"]),
        _images_of(dataset),
        _only(dataset, _OF_TRANSFORMS),
        config.get("optim_wrapper"),
        listed(config.get("param_scheduler")),
        _images_of(_plain(config.val_dataloader.get("dataset"), "dataset")),
    )
    return {name: _digest(_plain(part, name)) for name, part in zip(SAME, parts, strict=True)}


def _only(value: Any, keys: Collection[str]) -> list[Any]:
    """Return what plain values have under some keys, at any depth."""
    if isinstance(value, list):
        return [found for item in value for found in _only(item, keys)]
    if not isinstance(value, dict):
        return []
    return [
        found
        for key, item in value.items()
        for found in ([item] if key in keys else _only(item, keys))
    ]


def _images_of(value: Any) -> Any:
    if isinstance(value, list):
        return [_images_of(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _images_of(item) for key, item in value.items() if key not in _OF_TRANSFORMS}


def _decisive(config: Config, above: tuple[str, ...]) -> dict[str, Any]:
    content = config.to_dict()
    values = {key: content[key] for key in _KEYS if content.get(key) is not None}
    for _, reference in references_of(values.get("model") or {}):
        source = reference["config"]
        if is_file_here(source) and source not in above:
            its = _decisive(read_config(source), (*above, source))
            reference["config"] = _digest(its)
    return {key: _plain(value, key) for key, value in values.items()}


def _plain(value: Any, path: str) -> Any:
    """Return a value as JSON has it, without silent settings, with paths that machines share."""
    if isinstance(value, Mapping):
        items = ((str(key), item) for key, item in value.items())
        return {
            key: _plain(item, f"{path}.{key}")
            for key, item in items
            if not any(fnmatch.fnmatchcase(f"{path}.{key}", one) for one in _SILENT)
        }
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}.{number}") for number, item in enumerate(value)]
    if isinstance(value, str):
        return _shared_path(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    named = getattr(value, "__qualname__", None)  # of a class or a function
    return f"{value.__module__}.{named}" if named else str(value)


def _shared_path(text: str) -> str:
    data = os.environ.get("KD_DATA", "data")
    for folder, name in (
        (data, "$KD_DATA"),
        (os.path.abspath(data), "$KD_DATA"),
        (str(configs_folder()), SCOPE),
        (str(Path.cwd()), "."),
    ):
        if text == folder or text.startswith(f"{folder}/"):
            return f"{name}{text[len(folder) :]}"
    return text


def _digest(values: Any) -> str:
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
