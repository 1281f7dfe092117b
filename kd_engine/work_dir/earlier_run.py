"""Earlier run in a work dir: it is neither mixed with a new one nor lost unasked."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from kd_engine.config.compose import full_name
from kd_engine.work_dir.checkpoint_plan import CheckpointPlan, checkpoint_plan
from kd_engine.work_dir.lock import last_run_of

_USUAL = (CheckpointPlan("epoch_{}.pth", None), CheckpointPlan("iter_{}.pth", None))
_LOGS = re.compile(r"\d{8}_\d{6}")  # a folder for each start of mmengine's Runner


@dataclass(frozen=True)
class EarlierRun:
    """Files that earlier runs have left in a work dir.

    Attributes:
        work_dir: The work dir.
        checkpoints: Files with epoch or iteration, by number; then the best ones.
        others: Logs, and the note of the last checkpoint.
        config: The config, as far as it is known.
        end: The last epoch or iteration of the run that is to begin, as far as it is known.
    """

    work_dir: Path
    checkpoints: tuple[Path, ...]
    others: tuple[Path, ...]
    config: str | None
    end: str | None

    def require_none(self, config_name: str) -> None:
        """Refuse to begin a new run among the checkpoints of this one.

        Args:
            config_name: Config of the new run.

        Raises:
            FileExistsError: If there are checkpoints.
        """
        if not self.checkpoints:
            return
        continues = not self._is_finished and not self._is_other(config_name)
        resume = "--resume continues it. " if continues else ""
        raise FileExistsError(
            f"a new run must not mix its checkpoints with those of another one, but "
            f"{self.work_dir} holds {self.describe(config_name)}. {resume}--overwrite removes its "
            "checkpoints and logs when training begins, and --work-dir FOLDER keeps both."
        )

    def describe(self, config_name: str) -> str:
        """Return in a few words what is there.

        Args:
            config_name: Config of the run that is to begin.
        """
        if not self.checkpoints:
            return "no checkpoint"
        names = [path.name for path in self.checkpoints]
        numbered = [name for name in names if not name.startswith("best_")] or names
        whose = f" of another config, {self.config}" if self._is_other(config_name) else ""
        count = f" and {len(names) - 1} more" if len(names) > 1 else ""
        if self._is_finished:
            return f"a finished run{whose} ({self.end}{count})"
        return f"a run{whose} ({numbered[-1]}{count})"

    @property
    def _is_finished(self) -> bool:
        return self.end in [path.name for path in self.checkpoints]

    def _is_other(self, config_name: str) -> bool:
        return self.config is not None and not _same(self.config, config_name)

    def require_unneeded(self, needed: Iterator[str]) -> None:
        """Refuse to remove files that the new run itself starts from.

        Args:
            needed: Files, or work dirs, that the new run reads.

        Raises:
            ValueError: Names the file.
        """
        mine = {os.path.realpath(path) for path in (self.work_dir, *self.checkpoints)}
        for name in needed:
            if os.path.realpath(os.path.expanduser(name)) in mine:
                raise ValueError(
                    f"--overwrite would remove {name}, which the config itself reads. Name another "
                    "folder with --work-dir."
                )

    def remove(self, new_logs: str | os.PathLike[str] | None = None) -> None:
        """Remove checkpoints, logs and the note of the last checkpoint; other files stay.

        Args:
            new_logs: The new run's folder of logs, which stays. mmengine names it by the second,
                so an earlier run that began in the same second has the same one.
        """
        kept = None if new_logs is None else os.path.realpath(new_logs)
        for path in (*self.checkpoints, *self.others):
            if os.path.realpath(path) == kept:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if self.checkpoints:
            print(f"--overwrite: removed {len(self.checkpoints)} checkpoint(s) of the earlier run")


def earlier_run(config: Config) -> EarlierRun:
    """Return what the work dir of a config holds.

    Args:
        config: The run's config, with its ``work_dir``.
    """
    work_dir = Path(config.work_dir)
    plan = checkpoint_plan(config)
    plans = (*_USUAL, plan) if plan else _USUAL
    found = {path: None for one in plans for path in _numbered(one, one.folder(work_dir))}
    folders = {one.folder(work_dir).absolute() for one in plans}
    best = [path for folder in folders for path in sorted(folder.glob("best_*.pth"))]
    logs = [path for path in _entries(work_dir) if _LOGS.fullmatch(path.name) and path.is_dir()]
    noted = [path for path in _entries(work_dir) if path.name == "last_checkpoint"]
    name = last_run_of(work_dir).get("run")
    return EarlierRun(
        work_dir,
        checkpoints=(*found, *best),
        others=(*noted, *logs),
        config=str(name) if name else None,
        end=plan.last if plan else None,
    )


def _numbered(plan: CheckpointPlan, folder: Path) -> list[Path]:
    numbered = [(plan.number_of(path.name), path) for path in _entries(folder)]
    known = [(number, path) for number, path in numbered if number is not None]
    return [path for _, path in sorted(known)]


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _same(one: str, other: str) -> bool:
    paths = [full_name(name) for name in (one, other)]
    if any("::" in path for path in paths):  # of another package
        return one == other
    return os.path.realpath(paths[0]) == os.path.realpath(paths[1])
