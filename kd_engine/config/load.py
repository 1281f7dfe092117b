"""Config of a run: read, changed as the command line says, and served by its package."""

from __future__ import annotations

import importlib
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from kd_core.packages import quick_imports
from kd_engine.config.file import read_config, require_config
from kd_engine.config.keys import check_keys, check_options
from kd_engine.config.nested import require_outermost
from kd_engine.config.paths import resolve_paths
from kd_engine.config.preprocessor import preprocessed_model
from kd_engine.entry_points import package_of, package_of_scope
from kd_engine.work_dir.default import default_work_dir


@quick_imports()
def load_run_config(
    name: str, options: Mapping[str, Any] | None = None, work_dir: str | None = None
) -> Config:
    """Read a config, apply the options, and import the package that serves it.

    Also makes reading and writing of checkpoints safe in this process.

    Args:
        name: Config file, or ``kdkit::...`` or ``mmdet::...`` of an installed one.
        options: Dotted keys and values from the command line.
        work_dir: Folder of the run; by default that of
            :func:`kd_engine.work_dir.default.default_work_dir`.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If it cannot be read, an option does not fit it, a key looks misspelled, or a
            distilled model lies inside another model.
    """
    require_config(name)  # a wrong name is told before torch is imported, which takes seconds
    from kd_engine.weights.checkpoint import use_safe_checkpoints
    from kd_engine.weights.pretrained import use_strict_pretrained

    use_safe_checkpoints()
    use_strict_pretrained()
    if "::" in name and (package := package_of_scope(name.split("::")[0])):
        importlib.import_module(package)
    config = read_config(name)
    check_options(config, options or {})
    _merge(config, options or {})
    resolve_paths(config._cfg_dict, Path.cwd())  # those of the options; all others are absolute
    check_keys(config)
    if "model" in config:
        require_outermost(preprocessed_model(config))
    config.work_dir = work_dir or config.get("work_dir") or str(default_work_dir(name))
    importlib.import_module(package_of(config))
    return config


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Read settings as mmengine's commands do: numbers, truth values, None and lists are such.

    Args:
        pairs: Texts ``KEY=VALUE``; of a key that is there twice the last one counts.
    """
    found = Namespace()
    DictAction((), "settings")(ArgumentParser(), found, pairs)
    settings: dict[str, Any] = found.settings
    return settings


def _merge(config: Config, options: Mapping[str, Any]) -> None:
    for key, value in options.items():
        try:
            config.merge_from_dict({key: value})
        except (TypeError, KeyError, AttributeError, IndexError) as error:
            raise ValueError(
                f"--cfg-options {key}={value} does not fit the config ({error.args[0]}). Name a "
                "key of it; the items of a list are counted from 0."
            ) from error
