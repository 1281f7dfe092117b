"""Prerequisites of a config: the teacher, or the networks of a first phase, trained before it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process

from kd_engine.config.compose import full_name, is_file_here
from kd_engine.config.file import read_config
from kd_engine.config.paths import shown_path
from kd_engine.run.child import run_child
from kd_engine.run.first_training import FirstTraining
from kd_engine.work_dir.run_checkpoint import checkpoint_file


def references_of(model: Mapping[str, Any]) -> Iterator[tuple[str, MutableMapping[str, Any]]]:
    """Yield the trained models that a model config refers to.

    Args:
        model: Model config; a reference is a ``dict(config=, checkpoint=)``, a list of them, or
            ``teachers``, a dict of them.

    Yields:
        The key, such as ``teacher``, ``peers.0`` or ``teachers.large``, and the reference.
    """
    for key, value in model.items():
        items = {key: value}
        if isinstance(value, list | tuple):
            items = {f"{key}.{number}": item for number, item in enumerate(value)}
        elif key == "teachers" and isinstance(value, Mapping):
            items = {f"{key}.{name}": item for name, item in value.items()}
        for name, item in items.items():
            if isinstance(item, MutableMapping) and {"config", "checkpoint"} <= set(item):
                yield name, item


def require_trained(config: Config) -> None:
    """Stop if a checkpoint that the config refers to is missing; replace work dirs by files.

    A work dir is replaced, in the config, by its best checkpoint, or its last whole one if there
    is none. If its run is unfinished, a warning says so.

    Raises:
        FileNotFoundError: Says how to get it.
    """
    for training in _trainings(config):
        if training.is_missing:
            raise FileNotFoundError(training.message)
        if (progress := training.unfinished) and is_main_process():
            print(
                f"warning: {training.name} is taken from a run that is unfinished: "
                f"{training.checkpoint} is at {progress}. --with-teacher finishes it.",
                file=sys.stderr,
            )
    settle_work_dirs(config)


def settle_work_dirs(config: Config, unfinished: bool = True) -> None:
    """Replace each work dir in the config by its checkpoint file, if it has one.

    Args:
        config: The run's config.
        unfinished: Whether to do so for unfinished runs, too.
    """
    references = dict(references_of(config.get("model") or {}))
    for training in _trainings(config):
        if training.path.is_dir() and not training.is_missing:
            if unfinished or not training.unfinished:
                run = training.source if isinstance(training.source, str) else None
                reference = references[training.name]
                reference["checkpoint"] = checkpoint_file(reference["checkpoint"], run)


def train_missing(config: Config, program: Sequence[str]) -> None:
    """Train what the config refers to and is missing, or resume it where it stopped.

    Each is a run of its own in the folder of its checkpoint, and first trains what it needs itself.
    So a chain of phases is one command, which may be stopped and resumed anywhere. The whole chain
    is checked before anything is trained.

    Args:
        config: The run's config.
        program: Arguments of Python that run the training command, such as its file.

    Raises:
        ValueError: If a missing model has no config file, the run is distributed, or two runs
            would share a folder.
        FileNotFoundError: If a training would not leave, or has not left, the checkpoint that is
            named.
        SystemExit: If a training fails.
    """
    launcher = config.launcher
    _check_chain(config, {os.path.realpath(config.work_dir): "this run"}, launcher)
    for training in _trainings(config):
        if not _is_due(training, launcher):
            continue
        options = ["--resume", "--with-teacher", "--work-dir", str(training.work_dir)]
        code = run_child([*program, str(training.source), *options])
        if code:
            raise SystemExit(code)
        if training.is_missing:
            raise FileNotFoundError(training.message_afterwards)


def _trainings(config: Config) -> Iterator[FirstTraining]:
    for name, reference in references_of(config.get("model") or {}):
        if reference["checkpoint"] and "://" not in str(reference["checkpoint"]):
            source = reference["config"]
            yield FirstTraining(
                name,
                shown_path(str(reference["checkpoint"])),
                shown_path(source) if isinstance(source, str) else source,
            )


def _is_due(training: FirstTraining, launcher: str) -> bool:
    return training.is_missing or (launcher == "none" and bool(training.unfinished))


def _check_chain(config: Config, folders: dict[str, str], launcher: str) -> None:
    """Check all trainings that must come first.

    Args:
        config: A run's config.
        folders: Work dirs that are taken, and their configs; the others are added.
        launcher: How the processes of the whole run were started.
    """
    for training in _trainings(config):
        if not _is_due(training, launcher):
            continue
        source = training.source
        if launcher != "none" or not isinstance(source, str) or _is_foreign(source):
            raise ValueError(
                f"--with-teacher trains what is a config file, in one process, but {training.name} "
                f"is {source!r} and the launcher {launcher!r}. Train it before."
            )
        if training.problem:
            raise FileNotFoundError(training.message)
        holder = folders.setdefault(os.path.realpath(training.work_dir), source)
        if os.path.realpath(full_name(holder)) != os.path.realpath(full_name(source)):
            raise ValueError(
                f"each run must have a work dir of its own, but {training.name} ({source}) would "
                f"be trained in {training.work_dir}, which is that of {holder}. Name a checkpoint "
                f"in another folder: --cfg-options model.{training.name}.checkpoint=FILE"
            )
        _check_chain(training.run or read_config(source), folders, launcher)


def _is_foreign(source: str) -> bool:
    """Return whether a config is one of another package, which is not trained here."""
    return "::" in source and not is_file_here(source)
