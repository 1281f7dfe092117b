"""Training that must come first: where it runs, and whether it leaves the named checkpoint."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd_engine.config.compose import is_file_here
from kd_engine.config.file import read_config
from kd_engine.resume.last_checkpoint import last_whole_checkpoint
from kd_engine.work_dir.checkpoint_plan import CheckpointPlan, checkpoint_plan
from kd_engine.work_dir.default import default_work_dir
from kd_engine.work_dir.run_checkpoint import find_checkpoint, is_work_dir

_FILES = (".pth", ".pt", ".ckpt", ".safetensors", ".bin", ".tar", ".pkl", ".npz")
_FOLDER = "which stands for its best checkpoint, or its last if there is none"


@dataclass(frozen=True)
class FirstTraining:
    """Trained model that a config refers to, and the training that it comes from.

    Attributes:
        name: Its key in the model config, such as ``teacher``.
        checkpoint: A file, or the work dir of its run.
        source: Its config: a file, a name such as ``mmdet::...``, or a model config.
    """

    name: str
    checkpoint: str
    source: str | Mapping[str, Any]

    @property
    def path(self) -> Path:
        """Path of the checkpoint."""
        return Path(self.checkpoint).expanduser()

    @cached_property
    def run(self) -> Config | None:
        """Config of its training; ``None`` if that is not a file here."""
        return read_config(str(self.source)) if is_file_here(self.source) else None

    @cached_property
    def plan(self) -> CheckpointPlan | None:
        """Checkpoints that its training leaves behind; ``None`` if they are not known."""
        return checkpoint_plan(self.run) if self.run is not None else None

    @property
    def names_folder(self) -> bool:
        """Whether the checkpoint is a work dir; it need not be there yet."""
        if self.path.exists():
            return is_work_dir(self.checkpoint)
        own = self.plan is not None and self.plan.number_of(self.path.name) is not None
        return not own and self.path.suffix.lower() not in _FILES

    @property
    def work_dir(self) -> Path:
        """The folder in which its training must run."""
        return self.path if self.names_folder else self.path.parent

    @property
    def is_missing(self) -> bool:
        """Whether there is no checkpoint to take."""
        if self.path.is_file():
            return False
        return not self.path.is_dir() or find_checkpoint(self.path, self.run) is None

    @property
    def unfinished(self) -> str | None:
        """Progress of the run of a work dir, if it is not finished."""
        if not self.path.is_dir() or self.plan is None or not self.plan.last:
            return None
        last = Path(last_whole_checkpoint(self.path, self.run) or "").name
        number, end = self.plan.number_of(last), self.plan.number_of(self.plan.last)
        behind = number is not None and end is not None and number < end
        return f"{last}, and it ends with {self.plan.last}" if behind else None

    @property
    def problem(self) -> str:
        """Reason why its training would not leave the checkpoint where it is named, or ""."""
        if self.plan is None:
            return ""
        if not self.plan.writes_any:
            return "its config saves none. Give it a CheckpointHook that does."
        if self.names_folder:
            return ""
        folder = self.plan.folder(self.work_dir)
        if os.path.realpath(folder) != os.path.realpath(self.work_dir):
            return f"CheckpointHook's out_dir puts checkpoints into {folder}. " + self._offer(
                folder / (self.plan.last or self.path.name)
            )
        if self.plan.will_leave(self.path.name):
            return ""
        if self.path.name.startswith("best_") and self.plan.best:
            return (
                "it is not known in advance which epoch is the best. Name its work dir, "
                f"{self._option(self.work_dir)}, {_FOLDER}."
            )
        return (
            f"its schedule (epochs or iterations, interval, max_keep_ckpts) leaves "
            f"{self._left()} and never {self.path.name}. "
            + self._offer(folder / self.plan.last if self.plan.last else None)
        )

    @property
    def message(self) -> str:
        """Return a message that the checkpoint is missing, and how to get it."""
        start = f"{self.name} is trained before this, but its checkpoint {self.checkpoint} is"
        if self.problem:
            return (
                f"{start} missing, and its training would not make that file: {self.problem} "
                f"Train the {self.name} first: {self._command()}, or let --with-teacher do it."
            )
        command = f": {self._command()}" if isinstance(self.source, str) else ""
        return (
            f"{start} missing. Train the {self.name} first{command}, let --with-teacher do it, or "
            f"name another one: {self._option('FILE_OR_URL')}"
        )

    @property
    def message_afterwards(self) -> str:
        """Return a message that the training is over and the checkpoint is still missing."""
        names = sorted(path.name for path in self.work_dir.glob("*.pth"))
        return (
            f"{self.name} is trained, but its checkpoint {self.checkpoint} is still missing: "
            f"{self.work_dir} holds {', '.join(names) or 'none'}. {self._offer(None)}"
        )

    def _command(self) -> str:
        source = str(self.source)
        usual = (self.run or {}).get("work_dir") or default_work_dir(source)
        parts = ["kdkit", "train", source]
        if os.path.realpath(usual) != os.path.realpath(self.work_dir):
            parts += ["--work-dir", str(self.work_dir)]
        if any(self.work_dir.glob("*.pth")):
            parts += ["--resume"]
        return shlex.join(parts)

    def _left(self) -> str:
        assert self.plan is not None
        names = [self.plan.template.format(number) for number in self.plan.numbers or ()]
        if len(names) > 4:
            names = [*names[:2], "...", names[-1]]
        best = [f"best_{self.plan.template.format('N')}"] if not names else []
        return ", ".join(names or best)

    def _offer(self, file: Path | None) -> str:
        option = f"what it leaves, {self._option(file)}, or " if file else ""
        return f"Name {option}its work dir, {self._option(self.work_dir)}, {_FOLDER}."

    def _option(self, value: str | Path) -> str:
        return f"--cfg-options model.{self.name}.checkpoint={value}"
