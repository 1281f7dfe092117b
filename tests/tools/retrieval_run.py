"""A short run of retrieval on the built-in digits, for several tests."""

from types import SimpleNamespace

import torch

from kd_core.checkpoint.load import read_checkpoint
from kd_engine.weights.checkpoint import ALLOWED

from .conftest import ROOT, run_command

DIGITS = ROOT / "configs/retrieval"
ALONE, TEACHER, DISTILLED = (DIGITS / f"{name}.py" for name in ("student", "teacher", "rkd"))
MANY = DIGITS / "hmat_asckd_rkd.py"
SHORT = ("train_dataloader.batch_sampler.num_batches=3", "default_hooks.logger.interval=1",
         "log_level=WARNING", "train_cfg.val_interval=1")  # fmt: skip


def short(work_dir, *options, epochs=1):
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
