"""Runs of the demo: their configs, and the checkpoints that they already have."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd_core.checkpoint.atomic import write_whole
from kd_engine.config.file import read_config
from kd_engine.resume.last_checkpoint import last_whole_checkpoint

_FINGERPRINT = "fingerprint"
_IMAGES_OF_A_BATCH = 8
# Config and its name in tables and drawings.
TITLES = {
    "teacher": "teacher",
    "student": "student alone",
    "equal_time": "student alone, equal time",
    "distilled": "distilled student",
}


@dataclass(frozen=True)
class DemoOptions:
    """Size of the demo.

    Args:
        folder: Where everything goes, an absolute path.
        train_images: Images to train on.
        val_images: Images to measure on.
        epochs: Epochs of the student, the others in proportion; ``None`` keeps the configs'.
        seed: Seed of all trainings; the images are always the same.
    """

    folder: Path
    train_images: int = 480
    val_images: int = 96
    epochs: int | None = None
    seed: int = 0

    @property
    def data(self) -> Path:
        """Folder of the images."""
        return self.folder / "data" / "digits"


@dataclass(frozen=True)
class Run:
    """A detector to train.

    Attributes:
        name: Name of its folder.
        title: Its name in tables and drawings.
        config: Its whole config.
        folder: Where its checkpoints go.
        fingerprint: Digest of everything that decides the result.
    """

    name: str
    title: str
    config: Config
    folder: Path
    fingerprint: str

    @property
    def epochs(self) -> int:
        """Epochs of the whole run."""
        return int(self.config.train_cfg.max_epochs)

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint."""
        return self.folder / f"epoch_{self.epochs}.pth"

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the distillation terms."""
        return tuple(self.config.model.get("terms", ()))

    def epochs_done(self) -> int:
        """Count the epochs of the last whole checkpoint; 0 for one of another config."""
        if _read(self.folder / _FINGERPRINT) != self.fingerprint:
            return 0
        found = last_whole_checkpoint(self.folder)
        return int(Path(found).stem.split("_")[1]) if found else 0

    def prepare(self) -> Path:
        """Write the config for the training, and remove leftovers of a demo with another config.

        A folder that the demo did not make is renamed, not removed.

        Returns:
            The config file.
        """
        mark = self.folder / _FINGERPRINT
        if self.folder.exists() and not mark.exists():  # not a run of the demo
            self.folder.rename(self.folder.with_name(f"{self.name}.kept-{time.time():.0f}"))
        elif _read(mark) != self.fingerprint:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(mark, self.fingerprint.encode())
        path = self.folder / "config.py"
        self.config.dump(path)
        return path


def demo_runs(configs: Path, options: DemoOptions) -> dict[str, Run]:
    """Read the configs for a folder and a size.

    Args:
        configs: Folder of a config for each of ``TITLES``.
        options: Folder and size.

    Returns:
        Name to run, the teacher first.
    """
    found = {name: read_config(str(configs / f"{name}.py")) for name in TITLES}
    own = found["student"].train_cfg.max_epochs
    runs: dict[str, Run] = {}
    for name, config in found.items():
        epochs = max(1, round(config.train_cfg.max_epochs * (options.epochs or own) / own))
        config.merge_from_dict(_changes(config, options, epochs))
        before = ""
        if "teacher" in config.model:
            config.model.teacher.config = str(configs / "teacher.py")
            config.model.teacher.checkpoint = str(runs["teacher"].checkpoint)
            before = runs["teacher"].fingerprint
        fingerprint = _fingerprint(config.to_dict(), before, options)
        runs[name] = Run(name, TITLES[name], config, options.folder / name, fingerprint)
    return runs


def _changes(config: Config, options: DemoOptions, epochs: int) -> dict[str, Any]:
    root = f"{options.data}/"
    interval = max(1, min(10, options.train_images // (2 * _IMAGES_OF_A_BATCH)))
    annotations = f"{root}annotations/instances_val.json"
    return {
        "train_dataloader.dataset.data_root": root,
        "val_dataloader.dataset.data_root": root,
        "test_dataloader.dataset.data_root": root,
        "val_evaluator.ann_file": annotations,
        "test_evaluator.ann_file": annotations,
        "train_cfg.max_epochs": epochs,
        "randomness.seed": options.seed,
        "param_scheduler": [
            dict(one, end=epochs) if one.get("by_epoch") else dict(one)
            for one in config.param_scheduler
        ],
        "default_hooks.logger.interval": interval,
    }


def _fingerprint(config: Mapping[str, Any], before: str, options: DemoOptions) -> str:
    everything = [config, before, options.train_images, options.val_images]
    text = json.dumps(everything, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
