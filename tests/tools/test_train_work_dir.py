"""kdkit train: a work dir serves one run, and no checkpoint is lost or mixed unasked."""

import os
import shutil
import time

import pytest

from kd_core.checkpoint.load import read_checkpoint
from kd_engine.weights.checkpoint import ALLOWED
from kd_engine.work_dir.lock import hold_work_dir


def state(folder):
    """Names and contents of all files below a folder, but the log, to which refusals go."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"]
    return {path: path.read_bytes() for path in files}


@pytest.mark.parametrize("options", [[], ["--with-teacher"]])
def test_a_finished_run_is_refused(place, run_tool, options):
    before = state(place.run)
    code, _, error = run_tool("train", place.distilled, "--work-dir", place.run, *options)
    assert code == 1 and f"{place.run} holds a finished run (epoch_1.pth)" in error
    assert "--overwrite" in error and state(place.run) == before


def test_a_run_of_another_config_is_refused(place, run_tool):
    before = state(place.run)
    code, _, error = run_tool("train", place.teacher, "--work-dir", place.run)
    assert code == 1 and f"run of another config, {place.distilled} (epoch_1.pth)" in error
    assert state(place.run) == before


def test_an_unfinished_run_is_refused(place, run_tool):
    longer = ["--cfg-options", "train_cfg.max_epochs=2"]
    code, _, error = run_tool("train", place.distilled, "--work-dir", place.run, *longer)
    assert code == 1 and "holds a run (epoch_1.pth). --resume continues it" in error


@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
def test_a_work_dir_in_use_is_refused(place, run_tool, option):
    before = state(place.run)
    with hold_work_dir(place.run):
        code, _, error = run_tool("train", place.distilled, "--work-dir", place.run, option)
    assert code == 1 and f"in use by process {os.getpid()} on " in error
    assert state(place.run) == before


def test_two_ways_with_an_earlier_run_are_one_too_many(place, run_tool):
    code, _, error = run_tool("train", place.distilled, "--resume", "--overwrite")
    assert code == 2 and "exclude each other" in error


def test_overwriting_keeps_nothing_of_the_earlier_run(place, run_tool, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(place.run, run)
    shutil.copy(place.weights, run / "epoch_7.pth")
    shutil.copy(place.weights, run / "best_coco_bbox_mAP_epoch_7.pth")
    (logs,) = run.glob("*/vis_data")
    code, text, error = run_tool("train", place.teacher, "--work-dir", run, "--overwrite")
    assert code == 0, error
    assert "removed 3 checkpoint(s)" in text
    assert sorted(path.name for path in run.glob("*.pth")) == ["epoch_1.pth"]
    keys = read_checkpoint(run / "epoch_1.pth", ALLOWED)["state_dict"]
    assert not any(key.startswith("distiller.") for key in keys)
    assert not logs.exists() and len(list(run.glob("*/vis_data"))) == 1


def test_overwriting_a_run_of_the_same_second_keeps_the_new_logs(
    place, run_tool, tmp_path, monkeypatch
):
    real = time.strftime
    stamp = "20260102_030405"
    monkeypatch.setattr(
        time, "strftime", lambda how, *at: stamp if how == "%Y%m%d_%H%M%S" else real(how, *at)
    )
    run = tmp_path / "run"
    shutil.copytree(place.run, run)
    (run / stamp).mkdir()
    code, _, error = run_tool("train", place.teacher, "--work-dir", run, "--overwrite")
    assert code == 0, error
    assert [path.parent.parent.name for path in run.glob("*/vis_data/scalars.json")] == [stamp]


def test_a_run_that_does_not_begin_overwrites_nothing(place, run_tool, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(place.run, run)
    checkpoints = state(run)
    wrong = place.variant("wrong_layer.py", 'model = dict(terms=dict(at=dict(layers="nek[0]")))')
    code, _, error = run_tool("train", wrong, "--work-dir", run, "--overwrite")
    assert code == 1 and "no layer 'nek'" in error
    assert all(state(run)[path] == content for path, content in checkpoints.items()
               if not path.name.startswith(".run."))  # fmt: skip
    code, _, error = run_tool("train", wrong, "--work-dir", run)
    assert code == 1 and f"another config, {place.distilled}" in error
    own = f"load_from={run / 'epoch_1.pth'}"
    code, _, error = run_tool(
        "train", place.distilled, "--work-dir", run, "--overwrite", "--cfg-options", own
    )
    assert code == 1 and f"would remove {run / 'epoch_1.pth'}" in error


def test_a_run_that_is_refused_leaves_no_folder(place, run_tool, tmp_path):
    gone = f"train_dataloader.dataset.data_root={tmp_path / 'gone'}"
    run = tmp_path / "a" / "run"
    code, _, _ = run_tool("train", place.distilled, "--work-dir", run, "--cfg-options", gone)
    assert code == 1 and not (tmp_path / "a").exists()
