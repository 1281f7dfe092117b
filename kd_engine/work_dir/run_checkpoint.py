"""Checkpoint that a work dir stands for, wherever a checkpoint may be named."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process

from kd_engine.config.file import read_config
from kd_engine.config.paths import shown_path
from kd_engine.resume.last_checkpoint import last_whole_checkpoint, newest_whole
from kd_engine.work_dir.checkpoint_plan import checkpoint_plan

_BEST = re.compile(r"(best_.*?)(\d+)\.pth")


def checkpoint_file(checkpoint: str, config: Config | str | None = None) -> str:
    """Return the checkpoint file; of a work dir the best one, otherwise the last whole one.

    The choice is printed. Files and URLs are returned as they are, whether they exist or not.

    Args:
        checkpoint: File, URL, or the work dir of a run.
        config: The run's config, or its file. It is needed where CheckpointHook has another folder
            (``out_dir``) or other names (``filename_tmpl``).

    Raises:
        FileNotFoundError: If a work dir has no whole checkpoint.
        ValueError: If a work dir has the best checkpoints of several metrics.
        kd_core.checkpoint.load.UnsafeCheckpointError: If one names what a checkpoint may not.
    """
    if not is_work_dir(checkpoint):
        return checkpoint
    run = read_config(config) if isinstance(config, str) else config
    folder = os.path.expanduser(checkpoint)
    found = find_checkpoint(folder, run)
    if found is None:
        raise FileNotFoundError(
            f"a folder that is named as a checkpoint must be the work dir of a run that has saved "
            f"a whole one (best_*, epoch_*.pth, iter_*.pth), but {checkpoint} holds none. Name the "
            "file, or train that run."
        )
    if is_main_process():
        shown = f"{shown_path(checkpoint)}: {shown_path(found)} is taken"
        print(f"{shown}, the best checkpoint or else the last")
    return found


def find_checkpoint(work_dir: str | os.PathLike[str], config: Config | None) -> str | None:
    """Return the best checkpoint of a run, otherwise its last; only whole ones count.

    Args:
        work_dir: Work dir of the run.
        config: The run's config, if it is known.

    Raises:
        ValueError: If there are the best checkpoints of several metrics.
        kd_core.checkpoint.load.UnsafeCheckpointError: If one names what a checkpoint may not.
    """
    return _best(Path(work_dir), config) or last_whole_checkpoint(work_dir, config)


def is_work_dir(checkpoint: str) -> bool:
    """Return whether a checkpoint is named by a folder that exists."""
    return "://" not in checkpoint and os.path.isdir(os.path.expanduser(checkpoint))


def _best(folder: Path, config: Config | None) -> str | None:
    plan = checkpoint_plan(config) if config is not None else None
    metrics: dict[str, dict[int, Path]] = {}
    for place in {folder, plan.folder(folder) if plan else folder}:
        for path in place.glob("best_*.pth"):
            if match := _BEST.fullmatch(path.name):
                metrics.setdefault(match[1], {})[int(match[2])] = path
    if len(metrics) > 1:
        names = sorted(path.name for paths in metrics.values() for path in paths.values())
        raise ValueError(
            f"a work dir that is named as a checkpoint must have one best one, but {folder} has "
            f"those of {len(metrics)} metrics: {', '.join(names)}. Name one of the files."
        )
    found = [newest_whole(paths) for paths in metrics.values()]
    return str(found[0][1]) if found and found[0] else None
