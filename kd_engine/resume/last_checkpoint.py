"""Newest checkpoint of a run that training can resume from."""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.logging import print_log

from kd_core.checkpoint.atomic import remove_abandoned
from kd_core.checkpoint.load import CheckpointError, UnsafeCheckpointError, read_checkpoint
from kd_engine.weights.checkpoint import ALLOWED
from kd_engine.work_dir.checkpoint_names import number_in

_TEMPLATES = ("iter_{}.pth", "epoch_{}.pth")  # mmengine's own
_HUB = ("log_scalars", "runtime_info", "resumed_keys")


def last_whole_checkpoint(
    work_dir: str | os.PathLike[str], config: Config | None = None
) -> str | None:
    """Find the newest checkpoint of a run that training can resume from.

    Files that are damaged, or that training has not saved, are skipped with a warning.
    Temporary files that no process is writing are removed. The file `last_checkpoint` is not
    consulted: it may lag behind.

    Args:
        work_dir: Folder of the run.
        config: The run's config, whose CheckpointHook may have another folder (`out_dir`) or
            other names (`filename_tmpl`).

    Returns:
        Its path, or None if there is none.

    Raises:
        UnsafeCheckpointError: If a file is whole but names what a checkpoint may not.
        ValueError: If the checkpoints are not on this machine's file system.
    """
    newest, found = [], False
    for folder, template in dict.fromkeys(_places(work_dir, config)):
        if not folder.is_dir():
            continue
        if get_rank() == 0:
            remove_abandoned(folder)
        numbered = _numbered(folder, template)
        found = found or bool(numbered)
        newest.append(newest_whole(numbered))
    whole = [(iteration, str(path)) for iteration, path in filter(None, newest)]
    if found and not whole:
        _warn(f"No checkpoint in {work_dir} is whole, so training cannot resume from there.")
    return max(whole)[1] if whole else None


def newest_whole(paths: Mapping[int, Path]) -> tuple[int, Path] | None:
    """Return the iteration and path of the last whole one of numbered checkpoints, if any.

    Args:
        paths: By their numbers.

    Raises:
        UnsafeCheckpointError: If a file is whole but names what a checkpoint may not.
    """
    for number in sorted(paths, reverse=True):
        problem = _damage(paths[number])
        if not problem:
            try:
                checkpoint = read_checkpoint(paths[number], ALLOWED)
                problem = problem_of(checkpoint)
                if not problem:
                    return int(checkpoint["meta"]["iter"]), paths[number]
            except UnsafeCheckpointError:
                raise
            except CheckpointError as error:
                problem = str(error).rstrip(".")
        _warn(f"{paths[number]} is skipped: {problem}. Training can resume only from a whole file.")
    return None


def problem_of(checkpoint: Mapping[str, Any]) -> str:
    """Return why training cannot resume from the content of a file, "" if it can."""
    missing = [key for key in ("meta", "state_dict", "message_hub") if key not in checkpoint]
    if missing:
        return f"it lacks {missing}"
    meta, hub = checkpoint["meta"], checkpoint["message_hub"]
    if not isinstance(meta, Mapping):
        return f"its meta is a {type(meta).__name__}, not a dict"
    for key in ("epoch", "iter"):
        if type(meta.get(key)) is not int or meta[key] < 0:
            return f"its meta[{key!r}] is {meta.get(key)!r}, not a count"
    if not isinstance(meta.get("seed"), int | None):
        return f"its meta['seed'] is {meta['seed']!r}, not a number"
    if not isinstance(hub, Mapping) or any(not isinstance(hub.get(k), Mapping) for k in _HUB):
        return f"its message_hub is not a dict of {', '.join(_HUB)}"
    return _problem_of_states(checkpoint)


def _problem_of_states(checkpoint: Mapping[str, Any]) -> str:
    weights = checkpoint["state_dict"]
    if not isinstance(weights, Mapping) or not all(isinstance(key, str) for key in weights):
        return "its state_dict does not map names to tensors"
    if not isinstance(checkpoint.get("optimizer", {}), Mapping):
        return f"its optimizer is a {type(checkpoint['optimizer']).__name__}, not a dict"
    if not isinstance(checkpoint.get("param_schedulers", []), list | dict):
        return f"its param_schedulers are a {type(checkpoint['param_schedulers']).__name__}"
    return ""


def _places(work_dir: str | os.PathLike[str], config: Config | None) -> Iterator[tuple[Path, str]]:
    """Yield folder and name template of the checkpoints, by the rules of CheckpointHook."""
    folder = os.path.abspath(work_dir)
    yield from ((Path(folder), template) for template in _TEMPLATES)
    for hook in checkpoint_hooks(config or {}):
        where = hook.get("out_dir") or folder
        if "://" in str(where):
            raise ValueError(
                f"--resume looks for the last checkpoint in folders, but CheckpointHook writes to "
                f"{where}. Name the checkpoint: --resume FILE."
            )
        if where != folder:
            where = os.path.join(where, os.path.basename(folder))
        templates = [hook["filename_tmpl"]] if hook.get("filename_tmpl") else _TEMPLATES
        yield from ((Path(os.path.abspath(where)), template) for template in templates)


def checkpoint_hooks(config: Mapping[str, Any] | Config) -> Iterator[Mapping[str, Any]]:
    """Yield the settings of a config's CheckpointHooks."""
    default = (config.get("default_hooks") or {}).get("checkpoint")
    for hook in (default, *(config.get("custom_hooks") or ())):
        if isinstance(hook, Mapping) and "CheckpointHook" in str(hook.get("type")):
            yield hook


def _numbered(folder: Path, template: str) -> dict[int, Path]:
    named = ((number_in(path.name, template), path) for path in folder.iterdir() if path.is_file())
    return {number: path for number, path in named if number is not None}


def _damage(path: Path) -> str:
    """Return what is wrong with an archive, "" if nothing; every byte of it is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > path.stat().st_size:
                return "it is packed, and training saves unpacked files"
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        return f"it is cut off or damaged ({error})"
    return f"it is damaged (checksum of {broken})" if broken else ""


def _warn(text: str) -> None:
    print_log(text, logger="current", level=logging.WARNING)
