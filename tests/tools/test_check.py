"""kdkit check: right input passes, and each kind of wrong input is named."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def sections_of(text):
    parts = re.split(r"^== (.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture
def own_data(place, tmp_path):
    """A copy of the data that a test may spoil, and the options that name it."""
    shutil.copytree(place.data, tmp_path / "own")
    loaders = ("train_dataloader", "test_dataloader")
    options = [f"{name}.dataset.data_root={tmp_path / 'own'}" for name in loaders]
    return tmp_path / "own", ["--cfg-options", *options]


def test_all_is_ok(place, run_tool):
    code, text, _ = run_tool("check", place.distilled, "--images", "--gradients", "neck")
    assert code == 0, text
    sections = sections_of(text)
    parts = ["environment", "config", "weights", "data", "one training step", "one prediction"]
    assert list(sections) == parts
    assert "the model predicts on 1 image of its test data" in sections["one prediction"]
    assert re.search(rf"^torch +{re.escape(torch.__version__.split('+')[0])}", text, re.MULTILINE)
    assert re.search(r"^imitation .*2x16x8x8.*2x24x8x8.*16 -> 24$", sections["config"], re.M)
    assert "12 images" in sections["data"]
    step = sections["one training step"]
    values = {row[0]: float(row[1]) for row in re.findall(r"^(loss_\w+) +([\d.]+)", step, re.M)}
    assert {"loss_at", "loss_imitation", "loss_cls", "loss_rpn_bbox"} <= set(values)
    shares = [float(share) for share in re.findall(r"([\d.]+)% of the gradient", step)]
    assert len(shares) == len(values)
    assert sum(shares) == pytest.approx(100, abs=0.1)


def test_calibrate(place, run_tool):
    code, text, error = run_tool("calibrate", place.distilled, "--batches", "1", "--share", "0.5")
    assert code == 0, error
    (pasted,) = re.findall(r"^--cfg-options (.*)$", text, re.M)
    options = ("--batches", "1", "--cfg-options", *pasted.split())
    code, text, error = run_tool("calibrate", place.distilled, *options)
    assert code == 0, error
    assert re.findall(r"^(at|imitation) +[\d.e-]+ +0\.50 ", text, re.M) == ["at", "imitation"]


def test_plain_config(place, run_tool):
    code, text, _ = run_tool("check", place.teacher)
    assert code == 0, text
    assert "plain FasterRCNN, no teacher" in text


def test_wrong_layer_name_shows_the_nearest(place, run_tool):
    config = place.variant(
        "wrong_layer.py", 'model = dict(terms=dict(at=dict(layers="backbone.layr3")))'
    )
    code, text, _ = run_tool("check", config)
    assert code == 1
    assert "no layer 'backbone.layr3'" in text and "backbone.layer3" in text


def test_missing_config_and_data(place, run_tool, tmp_path):
    code, text, _ = run_tool("check", tmp_path / "none.py")
    assert code == 1 and "no config file" in sections_of(text)["config"]
    gone = f"train_dataloader.dataset.data_root={tmp_path / 'gone'}"
    code, text, _ = run_tool("check", place.distilled, "--cfg-options", gone)
    sections = sections_of(text)
    assert code == 1 and "gone is missing" in sections["data"]
    assert "skipped: first fix data" in sections["one training step"]
    assert sections["weights"].endswith("ok\n")


def test_missing_teacher_tells_how_to_train_it(place, run_tool):
    code, text, _ = run_tool("check", place.distilled, "--cfg-options",
                             "model.teacher.checkpoint=no/such.pth")  # fmt: skip
    sections = sections_of(text)
    assert code == 1
    assert "kdkit train" in sections["weights"] and str(place.teacher) in sections["weights"]
    assert sections["data"].endswith("ok\n")


def test_teacher_for_another_class_count(place, run_tool, tmp_path):
    config = tmp_path / "three.py"
    config.write_text(
        f"_base_ = {str(place.teacher)!r}\n"
        "model = dict(roi_head=dict(bbox_head=dict(num_classes=3)))\n"
    )
    code, text, _ = run_tool(
        "check", place.distilled, "--cfg-options", f"model.teacher.config={config}"
    )
    assert code == 1
    assert "The checkpoint has 10 classes, the model 3" in sections_of(text)["weights"]


def test_corrupt_image_is_found_only_by_decoding(place, run_tool, own_data):
    data, options = own_data
    picture = sorted((data / "JPEGImages").glob("val_*.jpg"))[-1]  # one image is predicted
    picture.write_bytes(picture.read_bytes()[:-200])
    code, text, _ = run_tool("check", place.distilled, "--images", *options)
    assert code == 1
    assert picture.name in sections_of(text)["data"] and "cannot be decoded" in text
    code, text, _ = run_tool("check", place.distilled, *options)
    assert code == 0, text


def test_gradients_at_a_wrong_layer(place, run_tool):
    code, text, _ = run_tool("check", place.distilled, "--gradients", "nek")
    assert code == 1
    assert "no layer 'nek'" in sections_of(text)["one training step"]


@pytest.mark.parametrize("begin", [0, 300])
def test_a_term_that_cannot_move_the_student_is_found_before_its_warm_up_ends(
    place, run_tool, begin
):
    warm_up = f'dict(type="kd_core.schedules.LinearWarmup", begin={begin}, end=500)'
    config = place.variant(
        f"frozen_{begin}.py",
        "model = dict(student=dict(backbone=dict(frozen_stages=1)),\n"
        f'    terms=dict(at=dict(layers="backbone.layer1", schedule={warm_up})))',
    )
    code, text, _ = run_tool("check", config)
    assert code == 1
    step = sections_of(text)["one training step"]
    assert "term 'at' cannot move the student" in step and "'backbone.layer1'" in step


def test_a_loss_that_is_not_finite_is_named(place, run_tool):
    config = place.variant(
        "infinite.py",
        "model = dict(student=dict(rpn_head=dict(loss_cls=dict(loss_weight=float('inf')))))",
    )
    code, text, _ = run_tool("check", config)
    assert code == 1
    assert re.search("loss_rpn_cls is (inf|nan)", sections_of(text)["one training step"])


def test_two_distributions_are_named(place, tmp_path):
    """A second distribution is there as soon as its metadata is."""
    rivals = {"mmdet": "onedl-mmdetection", "onedl-mmdetection": "mmdet"}
    from kd_engine.environment import installed

    (other,) = [rivals[name] for name in rivals if installed(name)]
    folder = tmp_path / f"{other.replace('-', '_')}-9.9.9.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {other}\nVersion: 9.9.9\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, ROOT / "tools/check.py", place.distilled],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "== environment" in done.stdout and "Uninstall all of them" in done.stdout
    assert other in done.stdout and "Traceback" not in done.stderr
