"""Start of a run, new or resumed: its checkpoint, changes of the config, what is left to do."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader, Runner

from kd_core.checkpoint.load import CheckpointError, read_checkpoint
from kd_engine.config.changes import change_table, changes_between, loop_kind
from kd_engine.config.keys import listed
from kd_engine.config.text import parse_config_text
from kd_engine.doctor.scores import read_log
from kd_engine.resume.hooks import DueValidationHook, ResumeCheckHook, has_score
from kd_engine.resume.last_checkpoint import checkpoint_hooks, last_whole_checkpoint, problem_of
from kd_engine.resume.position import Position
from kd_engine.run.seeding import SeedHook
from kd_engine.weights.checkpoint import ALLOWED

_STATES = (("optimizer", "save_optimizer"), ("param_schedulers", "save_param_scheduler"))


@dataclass(frozen=True)
class Start:
    """Start of a training.

    Attributes:
        position: The checkpoint that it resumes from; None if it starts from the beginning.
        is_finished: Whether its last epoch or iteration was trained.
        is_done: Whether nothing is left to do, not even an evaluation.
        needs_scores: Whether training depends on what validations measure.
        work_dir: Its folder.
    """

    position: Position | None
    is_finished: bool
    is_done: bool
    needs_scores: bool
    work_dir: str

    def register_hooks(self, runner: Runner) -> None:
        """Register the hooks that seed by position and check what a run resumes from."""
        seeds = SeedHook(self.position)
        runner.register_hook(seeds)
        if self.position is not None:
            always = self.needs_scores and not self.is_finished
            runner.register_hook(ResumeCheckHook(self.position.path))
            runner.register_hook(DueValidationHook(self.work_dir, seeds, always))


def read_start(config: Config, wanted: str | None = None) -> Start:
    """Find out where a training starts, and prepare its config for that.

    Args:
        config: The run's config; where it resumes, its `resume`, `load_from` and seed are set.
        wanted: "auto" to resume from the last whole checkpoint, or to start if there is none; a
            checkpoint, or a work dir that holds some; None to start, unless the config has
            `resume=True`.

    Returns:
        The start. Changes of the config, and that the run is finished, are logged.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        CheckpointError: If training cannot resume from it.
        ValueError: If the config has changed in what a run cannot change.
    """
    if wanted is None and config.get("resume"):
        wanted = config.get("load_from") or "auto"
    path = None if wanted is None else _find(config, wanted)
    config.resume = path is not None
    position = None if path is None else _resume_from(config, path)
    is_finished = position is not None and _is_finished(config, position)
    is_done = is_finished and position is not None and _say_finished(config, position)
    return Start(position, is_finished, is_done, _needs_scores(config), config.work_dir)


def _resume_from(config: Config, path: str) -> Position:
    checkpoint = _read(path)
    if problem := problem_of(checkpoint):
        raise CheckpointError(
            f"training cannot resume from {path}: {problem}. Name a checkpoint that training has "
            f"saved, or begin a new run from its weights: --cfg-options load_from={path}"
        )
    _require_states(config, checkpoint, path)
    _compare_configs(config, checkpoint["meta"].get("cfg"), path)
    seed = checkpoint["meta"].get("seed")
    if seed is not None:
        config.randomness = {**(config.get("randomness") or {}), "seed": seed}
    config.load_from = path
    return Position.of(path, checkpoint["meta"])


def _find(config: Config, wanted: str) -> str | None:
    if wanted != "auto" and not os.path.isdir(wanted):
        return wanted
    folder = config.work_dir if wanted == "auto" else wanted
    found = last_whole_checkpoint(folder, config if wanted == "auto" else None)
    if found is None and wanted != "auto":
        raise FileNotFoundError(f"the folder {wanted} holds no whole checkpoint to resume from.")
    if found is None:
        _say(f"There is no checkpoint in {folder}: training starts from the beginning.")
    return found


def _read(path: str) -> Mapping[str, Any]:
    if "://" in path and not path.startswith("http"):
        content: Mapping[str, Any] = CheckpointLoader.load_checkpoint(path, map_location="cpu")
        return content
    return read_checkpoint(path, ALLOWED)


def _require_states(config: Config, checkpoint: Mapping[str, Any], path: str) -> None:
    for key, setting in _STATES:
        if key in checkpoint or (key == "param_schedulers" and not config.get("param_scheduler")):
            continue
        if not any(hook.get(setting) is False for hook in checkpoint_hooks(config)):
            raise CheckpointError(
                f"training cannot resume from {path}: it holds no {key}, so it was exported, or "
                f"saved with {setting}=False. Name another one, begin a new run from its weights "
                f"(--cfg-options load_from={path}), or, to resume without, set "
                f"default_hooks.checkpoint.{setting}=False."
            )
        _warn(f"{path} holds no {key} ({setting}=False), so that state starts anew.")


def _compare_configs(config: Config, text: Any, path: str) -> None:
    before = parse_config_text(text) if isinstance(text, str) else None
    after = parse_config_text(config.pretty_text)
    if before is None or after is None or "model" not in before:
        _warn(f"{path} holds no config that can be read, so what has changed since is not known.")
        return
    changes = changes_between(before, after)
    if any(change.is_refused for change in changes):
        raise ValueError(
            f"training cannot resume from {path} with this config (then -> now):\n"
            f"{change_table(changes)}\nTake the first of these back, or begin a new run from its "
            f"weights in another work dir, without --resume: --cfg-options load_from={path}"
        )
    if changes:
        _warn(f"The config differs from that in {path} (then -> now):\n{change_table(changes)}")


def _is_finished(config: Config, position: Position) -> bool:
    loop = config.train_cfg
    kind = loop_kind(config)
    done, last = position.epoch, loop.get("max_epochs")
    if kind == "iterations":
        done, last = position.iteration, loop.get("max_iters")
    return kind is not None and last is not None and done >= last


def _say_finished(config: Config, position: Position) -> bool:
    """Log that a run is finished, and return whether nothing is left to do."""
    by_epoch = loop_kind(config) == "epochs"
    step = position.epoch if by_epoch else position.iteration
    unit, setting = ("epoch", "max_epochs") if by_epoch else ("iteration", "max_iters")
    text = f"The run is finished: {unit} {step} of {config.train_cfg[setting]}, {position.path}."
    log = read_log(Path(config.work_dir))
    for note in log.notes:
        _warn(note)
    is_scored = has_score(log, step, by_epoch)
    if is_scored:
        score = log.score_of(step) or log.scores[-1]
        numbers = [f"{name} {value:.4g}" for name, value in score.metrics.items()]
        text += f" Its score: {', '.join(numbers)}."
    wants_score = config.get("val_cfg") is not None
    if wants_score and not is_scored and step >= config.train_cfg.get("val_begin", 1):
        _say(f"{text} It has no score yet, so it is evaluated now.")
        return False
    _say(f"{text} To train longer: --resume --cfg-options train_cfg.{setting}=N")
    return True


def _needs_scores(config: Config) -> bool:
    """Return whether training depends on what validations have measured."""
    parts = [*listed(config.get("param_scheduler")), *(config.get("custom_hooks") or ())]
    types = [str(part.get("type")) for part in parts]
    return any(hook.get("save_best") for hook in checkpoint_hooks(config)) or any(
        "ReduceOnPlateau" in name or "EarlyStopping" in name for name in types
    )


def _say(text: str) -> None:
    if is_main_process():
        print(text, flush=True)


def _warn(text: str) -> None:
    print_log(text, logger="current", level=logging.WARNING)
