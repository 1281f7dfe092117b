"""Misspelled keys of a config: mmengine ignores those that it does not know.

A config may set any name of its own (``data_root``, ``classes``), so only a name within two typing
errors of one that mmengine reads is refused.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

SETTINGS: tuple[str, ...] = (
    "model", "work_dir", "train_dataloader", "val_dataloader", "test_dataloader", "train_cfg",
    "val_cfg", "test_cfg", "auto_scale_lr", "optim_wrapper", "param_scheduler", "val_evaluator",
    "test_evaluator", "default_hooks", "custom_hooks", "custom_imports", "data_preprocessor",
    "load_from", "load_options", "resume", "launcher", "env_cfg", "log_processor", "log_level",
    "visualizer", "default_scope", "randomness", "experiment_name", "find_unused_parameters",
    "tta_model", "tta_pipeline", "model_wrapper_cfg", "allow_val_on_train",
)  # fmt: skip
_PARTS = {
    "default_hooks": (
        "runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint",
        "visualization", "ema", "early_stopping",
    ),
    "env_cfg": ("cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit", "torch_num_threads"),
}  # fmt: skip


def check_keys(config: Mapping[str, Any]) -> None:
    """Refuse a key that mmengine would ignore and that is nearly one of those that it reads.

    Args:
        config: A run's config; its top level, ``default_hooks`` and ``env_cfg`` are checked.

    Raises:
        ValueError: Names each such key and what was probably meant.
    """
    found = list(_misspelled(config, SETTINGS, ""))
    for part, known in _PARTS.items():
        if isinstance(config.get(part), Mapping):
            found += _misspelled(config[part], known, f"{part}.")
    if found:
        raise ValueError(
            "a key of a config must not be nearly the name of a setting, because mmengine passes "
            f"over keys that it does not know, but {', '.join(found)}. Correct it; a variable of "
            "your own needs another name."
        )


def require_settings(config: Mapping[str, Any], names: Sequence[str], purpose: str) -> None:
    """Require settings that a purpose needs.

    Args:
        config: A run's config.
        names: The settings.
        purpose: What they are for: "trained".

    Raises:
        ValueError: Names those that the config lacks.
    """
    if missing := [name for name in names if not config.get(name)]:
        raise ValueError(
            f"a config must have {', '.join(names)} to be {purpose}, but it lacks "
            f"{', '.join(missing)}. Add them, or give a config that has them."
        )


def listed(value: Any) -> list[Any]:
    """Return a setting that may be one thing, several or none, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def check_options(config: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Refuse a change from the command line that nothing would read.

    Args:
        config: The config before the change.
        options: Dotted keys and values.

    Raises:
        ValueError: If a key begins with neither a setting nor a name that the config has.

    Warns:
        UserWarning: If it is a variable, whose value the config has used already.
    """
    for key in options:
        name = key.split(".")[0]
        if name in SETTINGS:
            continue
        if name not in config:
            raise ValueError(
                f"an option must change a setting, but --cfg-options {key} begins with {name!r}, "
                f"which the config does not have.{_nearest(name, {*SETTINGS, *config})} Correct it."
            )
        warnings.warn(
            f"--cfg-options {key} changes a variable of the config file after the file has used "
            "it. Change the settings that were made from it, such as "
            "train_dataloader.dataset.data_root.",
            stacklevel=2,
        )


def _nearest(name: str, known: Collection[str]) -> str:
    nearest = difflib.get_close_matches(name, sorted(known), n=3)
    return f" Nearest names: {', '.join(nearest)}." if nearest else ""


def _misspelled(part: Mapping[str, Any], known: Collection[str], place: str) -> Iterator[str]:
    for key in part:
        if key in known or str(key).startswith("_"):
            continue
        for meant in known:
            if _distance(str(key), meant, limit=1 if len(meant) < 8 else 2):
                yield f"{place}{key} is set (is it {place}{meant}?)"
                break


def _distance(one: str, other: str, limit: int) -> bool:
    """Return whether two words are at most ``limit`` edits apart; a swap of neighbors is one."""
    if abs(len(one) - len(other)) > limit:
        return False
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        previous, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, previous[j - 2] + 1)
            row.append(cost)
    return row[-1] <= limit
