"""Fingerprint of a config: what decides the result counts, and nothing else."""

import pytest

from kd_engine.compare.fingerprint import data_digest, fingerprint
from kd_engine.config.load import load_run_config

KD = "kdkit::cls/kd+digits"


def of(options=None, name=KD):
    return fingerprint(load_run_config(name, options or {}))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("randomness.seed", 3), ("train_dataloader.num_workers", 2), ("work_dir", "elsewhere"),
     ("default_hooks.logger.interval", 7), ("default_hooks.checkpoint.interval", 3),
     ("val_dataloader.batch_size", 9), ("log_level", "WARNING")],
)  # fmt: skip
def test_what_changes_nothing_does_not_count(setting, value):
    assert of({setting: value}) == of()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("model.terms.kd.weight", 2.0), ("optim_wrapper.optimizer.lr", 0.1), ("load_from", "a.pth"),
     ("train_cfg.max_epochs", 7), ("train_dataloader.batch_size", 9),
     ("val_dataloader.dataset.split", "val"), ("model.teacher.checkpoint", "other.pth"),
     ("randomness.deterministic", True), ("custom_hooks", [dict(type="EMAHook")])],
)  # fmt: skip
def test_what_decides_the_result_counts(setting, value):
    assert of({setting: value}) != of()


def test_it_is_the_same_in_another_folder(tmp_path, monkeypatch):
    """Paths of files next to the config, of data, and of built-in configs."""
    text = (
        f'_base_ = "{KD}.py"\nmodel = dict(teacher=dict(config="teacher.py", '
        'checkpoint="teacher.pth"))\nload_from = "first.pth"\n'
    ).replace("kd+digits.py", "kd.py")
    found = set()
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "mine.py").write_text(text)
        (folder / "teacher.py").write_text('_base_ = "kdkit::cls/teacher.py"\n')
        monkeypatch.chdir(folder)
        monkeypatch.setenv("KD_DATA", str(folder / "data"))
        options = {"train_dataloader.dataset.root": str(folder / "data/digits")}
        found.add(of(options, "mine.py"))
    assert len(found) == 1
    before = found.pop()
    assert of({"train_dataloader.dataset.root": "x"}, "mine.py") != before
    (folder / "teacher.py").write_text(
        '_base_ = "kdkit::cls/teacher.py"\ntrain_cfg = dict(max_epochs=9)\n'
    )  # noqa: E501
    assert of(options, "mine.py") != before  # the teacher's own training counts


def test_data_are_the_same_however_they_are_transformed():
    loader = load_run_config(KD).train_dataloader
    before = data_digest(loader)
    loader.dataset.transforms = []
    loader.batch_size = 1
    assert data_digest(loader) == before
    loader.dataset.split = "train"
    assert data_digest(loader) != before
