"""A short run of classification on the built-in digits, for several tests."""

from types import SimpleNamespace

import torch

from kd_core.checkpoint.load import read_checkpoint
from kd_engine.weights.checkpoint import ALLOWED

from .conftest import ROOT, run_command

CLS = ROOT / "configs/cls"
ALONE = CLS / "student.py"
TEACHER = CLS / "teacher.py"
DISTILLED = CLS / "kd.py"
MANY = CLS / "hmat.py"
SHORT = ("train_dataloader.batch_size=16", "train_dataloader.num_batch_per_epoch=3",
         "default_hooks.logger.interval=1", "log_level=WARNING",
         "train_cfg.val_interval=1")  # fmt: skip


def short(work_dir, *options, epochs=1):
    """Options of a run of three batches an epoch."""
    return ["--work-dir", work_dir, "--cfg-options", f"train_cfg.max_epochs={epochs}", *SHORT,
            *options]  # fmt: skip


def state_of(path):
    return read_checkpoint(path, ALLOWED)["state_dict"]


def make_runs(folder):
    """Train a teacher for one epoch, and a student under it for two."""
    torch.set_num_threads(1)
    made = SimpleNamespace(teacher=folder / "teacher", run=folder / "run")
    made.named = (
        f"model.teacher.config={TEACHER}",
        f"model.teacher.checkpoint={made.teacher / 'epoch_1.pth'}",
    )
    assert run_command("train", TEACHER, *short(made.teacher)) == 0
    assert run_command("train", MANY, *short(made.run, *made.named, epochs=2)) == 0
    return made
