"""Terminal output of kdkit train, and what only the log file has."""

import os
import shlex

import pytest
from mmengine.config import Config

VALIDATED = """
log_level = "INFO"
val_dataloader = {{_base_.test_dataloader}}
val_evaluator = {{_base_.test_evaluator}}
val_cfg = dict(type="ValLoop")
train_cfg = dict(max_epochs=2, val_interval=1)
"""
NOISE = ("OneDL", "Hooks will be executed", "System environment", "Config:", "FileClient",
         "index created", "Average Precision", "Exp name", "faster_coco_eval")  # fmt: skip


@pytest.fixture(scope="module")
def report(place, request):
    """One validated, distilled run: its output, its folder and its config."""
    from .conftest import run_command

    capture = request.config.pluginmanager.getplugin("capturemanager")
    run = place.folder / "reported"
    config = place.variant("reported.py", VALIDATED)
    capture.read_global_capture()
    assert run_command("train", config, "--work-dir", run) == 0
    return capture.read_global_capture().out, run, config


def test_the_head_is_short_and_says_what_is_trained_on_what(report):
    text, run, config = report
    head = text.partition("Epoch(train)")[0]
    assert len(head.splitlines()) <= 25
    for said in (str(config), str(run), "CocoDataset, 12 images of 10 classes, 4 a batch",
                 "2 epochs, 6 iterations", "FasterRCNN, ", "teacher: FasterRCNN, ",
                 "Layers of student and teacher", "imitation"):  # fmt: skip
        assert said in head, said
    assert not [noise for noise in NOISE if noise in text]


def test_the_log_file_keeps_what_it_had(report):
    _, run, _ = report
    (log,) = run.glob("*/*.log")
    text = log.read_text()
    for noise in ("Hooks will be executed", "System environment", "Config:", "FileClient",
                  "Average Precision", "Exp name", "training starts", "done: "):  # fmt: skip
        assert noise in text, noise


def test_lines_of_training_and_of_validations_stay(report):
    text, _, _ = report
    lines = [line for line in text.splitlines() if "Epoch(train)" in line]
    assert len(lines) == 2 and all(" eta: " in line for line in lines)
    assert len([line for line in text.splitlines() if "Epoch(val)" in line]) == 2


def test_the_last_line_is_true(report, run_tool, tmp_path, monkeypatch):
    text, run, _ = report
    last = text.splitlines()[-1]
    scores = [line.partition("coco/bbox_mAP: ")[2].split()[0] for line in text.splitlines()
              if "Epoch(val)" in line]  # fmt: skip
    best = max(map(float, scores))
    said, _, commands = last.partition("; next: ")
    step = said.rpartition("at epoch ")[2]
    assert f"done: best coco/bbox_mAP {best:.4f}" in said
    assert float(scores[int(step) - 1]) == best
    test, export = map(shlex.split, commands.split(" or "))
    for command in (test, export):
        assert command[0] == "kdkit" and all(os.path.isfile(path) for path in command[2:4])
        assert command[3].endswith(f"epoch_{step}.pth")
    code, _, error = run_tool("test", *test[2:], "--work-dir", tmp_path)
    assert code == 0, error
    code, _, error = run_tool("export", *export[2:])
    assert code == 0 and (run / "exported.py").is_file(), error


def test_a_config_in_its_own_work_dir_stays(place, run_tool, tmp_path):
    """mmengine would write the whole config over it."""
    config = tmp_path / "own.py"
    config.write_text(f"_base_ = {str(place.base)!r}\n# my notes\n")
    before = config.read_text()
    code, _, error = run_tool("train", config, "--work-dir", tmp_path)
    assert code == 0, error
    assert config.read_text() == before
    (dumped,) = (path for path in tmp_path.glob("*.py") if path != config)
    assert Config.fromfile(dumped).work_dir == str(tmp_path)


def test_a_run_without_checkpoints_says_so(place, run_tool, tmp_path):
    config = place.variant(
        "unsaved.py",
        "log_level = 'INFO'\ndefault_hooks = dict(checkpoint=dict(interval=-1, save_last=False))",
        "base.py",
    )
    code, text, error = run_tool("train", config, "--work-dir", tmp_path)
    assert code == 0, error
    assert text.rstrip().endswith("done: 1 epoch trained; no checkpoint was saved")
