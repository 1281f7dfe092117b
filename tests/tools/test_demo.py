"""The demo at its smallest: what it writes, what a second run uses again, what a kill leaves."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kd_engine.config.file import read_config
from kdkit.demo.curves import read_curves
from kdkit.demo.detections import match_detections
from kdkit.demo.measure import quiet_logs
from kdkit.demo.report import table, verdict
from kdkit.demo.runs import DemoOptions, demo_runs
from kdkit.demo.training import Progress, Watch

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs" / "demo"
NAMES = ("teacher", "student", "equal_time", "distilled")


def command(folder, epochs):
    sizes = ["--train-images", "16", "--val-images", "6", "--epochs", str(epochs)]
    return [sys.executable, str(ROOT / "tools/demo.py"), "--work-dir", str(folder), *sizes]


def environment():
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def run(folder, epochs):
    return subprocess.run(
        command(folder, epochs), env=environment(), capture_output=True, text=True, timeout=900
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo that was killed after the first checkpoint of the teacher, then run to its end."""
    folder = tmp_path_factory.mktemp("demo")
    with open(folder / "killed.txt", "w") as output:
        process = subprocess.Popen(
            command(folder, 2), env=environment(), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while process.poll() is None and not (folder / "teacher/epoch_1.pth").exists():
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    time.sleep(2)  # its trainings end by themselves
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*.pth")}
    time.sleep(1)
    assert written == {path: path.stat().st_mtime_ns for path in folder.rglob("*.pth")}
    finished = run(folder, 2)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return folder, finished.stdout


@pytest.mark.slow
def test_after_a_kill_the_teacher_goes_on_from_its_checkpoint(demo):
    folder, output = demo
    assert "teacher: training resumes after epoch 1" in output or "teacher: trained already" in (
        output
    )
    log = (folder / "teacher/train.log").read_text()
    steps = re.findall(r"Epoch\(train\)\s+(\[\d\])\[\s*1/2\]", log)
    assert steps.count("[1]") == 1 and "[2]" in steps  # the first epoch was not trained again


@pytest.mark.slow
def test_the_table_has_a_row_for_each_model(demo):
    folder, output = demo
    text = (folder / "results.md").read_text()
    assert text.strip() in output
    assert "GFLOPs (96 x 96)" in text
    rows = {row["name"]: row for row in json.loads((folder / "results.json").read_text())["models"]}
    assert tuple(rows) == NAMES
    assert rows["teacher"]["parameters"] > 2 * rows["student"]["parameters"]
    assert rows["teacher"]["gflops"] > rows["student"]["gflops"] > 0
    # the distilled student carries neither teacher nor connectors
    assert rows["distilled"]["parameters"] == rows["student"]["parameters"]
    assert [rows[name]["epochs"] for name in NAMES] == [2, 2, 2, 2]
    assert all(row["minutes"] > 0 for row in rows.values())
    assert re.search(r"^Distillation (helped|did not clearly help here)", text, re.MULTILINE)
    assert all(row["ms"] > 0 and -1 <= row["map"] <= 1 for row in rows.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["curves.png", "detections.png"])
def test_drawings_are_large_enough_and_not_blank(demo, name):
    with Image.open(demo[0] / name) as picture:
        assert min(picture.size) >= 400
        assert np.asarray(picture.convert("L")).std() > 10


@pytest.mark.slow
def test_curves_hold_every_term_and_the_score(demo):
    curves = read_curves(demo[0] / "distilled", ("imitation",))
    assert set(curves) == {"task", "map", "minutes", "loss_imitation"}
    assert set(curves["task"]) == {1, 2}
    assert min(curves["task"].values()) > 0 and 0 < curves["minutes"][1] < curves["minutes"][2]


@pytest.mark.slow
def test_a_second_run_trains_nothing(demo):
    folder, _ = demo
    files = [*folder.rglob("*.pth"), *folder.glob("*.png"), folder / "results.json"]
    before = {path: path.stat().st_mtime_ns for path in files}
    again = run(folder, 2)
    assert again.returncode == 0
    assert again.stdout.count("trained already") == 4
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert "| distilled student " in again.stdout


def options(folder, **changes):
    return DemoOptions(**{"folder": folder, "train_images": 16, "epochs": 2, **changes})


def test_a_changed_teacher_changes_the_distilled_run_too(tmp_path):
    first = demo_runs(CONFIGS, options(tmp_path))
    copy = tmp_path / "configs" / "demo"
    shutil.copytree(CONFIGS.parent, copy.parent)
    with (copy / "teacher.py").open("a") as file:
        file.write("default_hooks = dict(logger=dict(ignore_last=False))\n")
    second = demo_runs(copy, options(tmp_path))
    assert second["teacher"].fingerprint != first["teacher"].fingerprint
    assert second["distilled"].fingerprint != first["distilled"].fingerprint
    assert second["student"].fingerprint == first["student"].fingerprint


def test_a_folder_of_another_config_is_made_anew_and_a_strange_one_is_kept(tmp_path):
    run = demo_runs(CONFIGS, options(tmp_path))["student"]
    run.folder.mkdir()
    (run.folder / "mine.txt").write_text("precious")
    run.prepare()
    assert [path.read_text() for path in tmp_path.glob("student.kept-*/mine.txt")] == ["precious"]
    (run.folder / "old.pth").write_text("old")
    run.prepare()
    assert (run.folder / "old.pth").exists()
    demo_runs(CONFIGS, options(tmp_path, epochs=3))["student"].prepare()
    assert not (run.folder / "old.pth").exists()


def test_the_last_checkpoint_named_in_the_distilled_config_is_the_teachers(tmp_path):
    runs = demo_runs(CONFIGS, options(tmp_path, epochs=None))
    assert runs["distilled"].config.model.teacher.checkpoint == str(runs["teacher"].checkpoint)
    written = read_config(str(CONFIGS / "distilled.py")).model.teacher.checkpoint
    assert written == f"work_dirs/demo/teacher/{runs['teacher'].checkpoint.name}"


def test_the_estimate_grows_with_what_is_left(tmp_path):
    watch = Watch(demo_runs(CONFIGS, options(tmp_path, epochs=4))["student"], tmp_path / "log")
    line = "x - mmengine - INFO - Epoch(train)  [{}][ 5/10]  lr: 1e-3  loss: 1.5000  loss_cls: 1\n"
    watch.log.write_text(line.format(2))
    watch.update()
    assert watch.done == pytest.approx(1.5 / 4)
    progress = Progress({"one": 100.0, "two": 50.0})
    progress.began = time.monotonic() - 75  # twice as slow as planned
    assert progress.eta("one", [watch]) == "ETA 2:05, whole demo 3:45"
    with watch.log.open("a") as file:
        file.write("Epoch(val) [2][6/6]    coco/bbox_mAP: 0.2500  coco/bbox_mAP_50: 0.5\nEpoch(tr")
    watch.update()
    assert str(watch) == "student alone: epoch 2/4, loss 1.50, mAP 0.250"


def test_table_is_aligned():
    row = dict(title="a", parameters=1234567, gflops=0.25, ms=12.34, epochs=3, minutes=1.26,
               map=0.5, map50=-0.01)  # fmt: skip
    lines = table([row, {**row, "title": "longer"}], "96 x 96").splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == [
        "a", "1,234,567", "0.250", "12.3", "3", "1.3 min", "50.0", "-1.0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("student", "equal_time", "distilled", "teacher", "says"),
    [
        (20.0, 25.0, 35.0, 40.0, ["helped: 35.0 mAP, +15.0", "+10.0 against", "75% of"]),
        (20.0, 34.0, 35.0, 40.0, ["not clearly help here (more epochs did as much)", "+1.0"]),
        (20.0, 16.0, 21.0, 40.0, ["not clearly help here (a gain up to 2 is noise)", "+1.0"]),
        (20.0, 25.0, 15.0, 40.0, ["Distillation harmed: 15.0", "-5.0 against", "-10.0 against"]),
        (20.0, 22.0, 25.0, 21.0, ["helped: 25.0 mAP, +5.0 against", "+3.0 against"]),
    ],
)
def test_the_verdict_is_what_the_scores_say(student, equal_time, distilled, teacher, says):
    said = verdict(
        dict(student=student, equal_time=equal_time, distilled=distilled, teacher=teacher)
    )
    assert all(one in said for one in says), said
    assert ("gap" in said) == ("75%" in says[-1])  # a teacher hardly better shows no gap


def test_a_true_box_is_found_once_and_by_its_class_only():
    true = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    found = torch.tensor([[0.0, 0, 10, 9], [1, 0, 10, 10], [20, 20, 30, 30], [21, 20, 30, 30]])
    matches = match_detections(found, torch.tensor([3, 3, 4, 5]), true, torch.tensor([3, 5]))
    assert matches == [0, -1, -1, 1]
    assert (
        match_detections(found, torch.tensor([1, 1, 1, 1]), true[:0], torch.zeros(0).long())
        == [-1] * 4
    )


def test_a_log_cut_off_in_the_middle_is_read(tmp_path):
    for stamp, lines in (
        ("1", ['{"loss": 3.0, "loss_x": 1.0, "epoch": 1, "step": 1}', '{"loss": 9.0, "epo']),
        ("2", ['{"loss": 5.0, "loss_x": 1.0, "epoch": 1, "step": 1, "time": 30.0}',
               '{"loss": 2.0, "loss_x": 0.5, "epoch": 2, "step": 2, "time": 60.0}',
               '{"coco/bbox_mAP": 0.3, "step": 2}']),
    ):  # fmt: skip
        folder = tmp_path / stamp / "vis_data"
        folder.mkdir(parents=True)
        (folder / "scalars.json").write_text("\n".join(lines))
    curves = read_curves(tmp_path, ("x",))
    assert curves == {"task": {1: 4.0, 2: 1.5}, "loss_x": {1: 1.0, 2: 0.5}, "map": {2: 0.3},
                      "minutes": {1: 0.5, 2: 1.5}}  # fmt: skip


def test_evaluations_are_not_logged(monkeypatch):
    from mmengine.logging import MMLogger, print_log

    said, logger = [], MMLogger.get_current_instance()
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler()])
    monkeypatch.setattr(logger.handlers[0], "emit", lambda record: said.append(record.msg))
    logger.setLevel("INFO")
    print_log("before", "current")
    with quiet_logs():
        print_log("Evaluating bbox...", "current")
    print_log("after", "current")
    assert said == ["before", "after"]
