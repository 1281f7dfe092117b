"""kdkit train: its files, refusals, and how it resumes."""

import json
import math
import re
import shutil

import pytest
import torch

from kd_core.checkpoint.load import read_checkpoint
from kd_engine.weights.checkpoint import ALLOWED


@pytest.fixture
def own_data(place, tmp_path):
    """A copy of the data that a test may spoil, and the options that name it."""
    shutil.copytree(place.data, tmp_path / "own")
    loaders = ("train_dataloader", "test_dataloader")
    options = [f"{name}.dataset.data_root={tmp_path / 'own'}" for name in loaders]
    return tmp_path / "own", ["--work-dir", tmp_path / "run", "--cfg-options", *options]


def change_annotations(data, change):
    file = data / "annotations/instances_train.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_checkpoint_is_one_of_plain_mmdet(place):
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    saved = read_checkpoint(place.weights, ALLOWED)
    own = [key for key in saved["state_dict"] if key.startswith("distiller.")]
    assert "distiller.iteration" in own
    assert any(key.startswith("distiller.connectors.") for key in own)
    assert not [key for key in own if "teacher" in key]
    init_default_scope("mmdet")
    model = MODELS.build(Config.fromfile(place.base).model)
    for key in own:
        del saved["state_dict"][key]
    model.load_state_dict(saved["state_dict"], strict=True)
    assert saved["meta"]["dataset_meta"]["classes"] == tuple("0123456789")


def test_terms_are_logged(place):
    (scalars,) = place.run.glob("*/vis_data/scalars.json")
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    for name in ("loss_at", "loss_imitation", "loss_cls"):
        values = [row[name] for row in rows if name in row]
        assert values and all(math.isfinite(value) and value > 0 for value in values)


def test_resume_goes_on_from_the_last_whole_checkpoint(place, run_tool, tmp_path):
    run = tmp_path / "run"
    command = [place.distilled, "--work-dir", run, "--cfg-options", "train_cfg.max_epochs=2"]
    run.mkdir()
    shutil.copy(place.weights, run / "epoch_1.pth")
    (run / "epoch_2.pth").write_bytes(place.weights.read_bytes()[:5000])
    code, text, error = run_tool("train", *command, "--resume")
    assert code == 0, error
    saved = read_checkpoint(run / "epoch_2.pth", ALLOWED)
    assert saved["meta"]["epoch"] == 2 and saved["meta"]["iter"] == 6
    assert int(saved["state_dict"]["distiller.iteration"]) == 6
    (scalars,) = run.glob("*/vis_data/scalars.json")
    steps = [json.loads(line).get("step", 9) for line in scalars.read_text().splitlines()]
    assert steps and min(steps) > 3, "it must not begin again"


@pytest.mark.slow
def test_a_resumed_detector_equals_one_that_never_stopped(place, run_tool, tmp_path):
    """Random sampling of regions, flips, EMA and distillation included."""
    flip = 'train_dataloader = dict(dataset=dict(pipeline=[dict(type="LoadImageFromFile"), '
    flip += 'dict(type="LoadAnnotations", with_bbox=True), dict(type="Resize", scale=(80, 80), '
    flip += 'keep_ratio=True), dict(type="RandomFlip", prob=0.5), dict(type="PackDetInputs")]))'
    config = place.variant("flip.py", flip)
    options = ["--cfg-options", "train_cfg.max_epochs=2"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    code, _, error = run_tool("train", config, "--work-dir", whole, *options)
    assert code == 0, error
    parts.mkdir()
    shutil.copy(whole / "epoch_1.pth", parts)
    code, out, error = run_tool("train", config, "--work-dir", parts, "--resume", *options)
    assert code == 0 and "differs" not in out, error
    one, other = (read_checkpoint(run / "epoch_2.pth", ALLOWED) for run in (whole, parts))
    for states in ("state_dict", "ema_state_dict"):
        assert one[states].keys() == other[states].keys()
        assert all(torch.equal(one[states][key], other[states][key]) for key in one[states])
    code, out, error = run_tool("train", config, "--work-dir", parts, "--resume", *options)
    assert code == 0 and "The run is finished: epoch 2 of 2" in out


def test_resume_without_a_checkpoint_starts(place, run_tool, tmp_path):
    code, _, error = run_tool("train", place.teacher, "--work-dir", tmp_path / "run", "--resume")
    assert code == 0, error
    assert (tmp_path / "run/epoch_1.pth").is_file()


def test_images_without_boxes_train(place, run_tool, own_data):
    data, options = own_data
    change_annotations(data, lambda content: content["annotations"].clear())
    code, _, error = run_tool("train", place.distilled, *options)
    assert code == 0, error


def test_annotation_with_an_unknown_class(place, run_tool, own_data):
    def change(content):
        content["annotations"][0]["category_id"] = 77

    data, options = own_data
    change_annotations(data, change)
    code, _, error = run_tool("train", place.distilled, *options)
    assert code == 1 and "77" in error and "instances_train.json" in error


def test_unknown_class_name_in_voc(place, run_tool, own_data):
    data, options = own_data
    file = next(
        path
        for path in sorted(data.glob("Annotations/train_*.xml"))
        if "<name>" in path.read_text()
    )
    text = file.read_text()
    digit = text.partition("<name>")[2][0]
    file.write_text(text.replace(f"<name>{digit}</name>", "<name>zebra</name>"))
    code, _, error = run_tool("train", place.voc, *options)
    assert code == 1 and "'zebra'" in error and file.stem in error


def test_box_outside_its_image(place, run_tool, own_data):
    def change(content):
        content["annotations"][0]["bbox"] = [500, 500, 10, 10]

    data, options = own_data
    change_annotations(data, change)
    code, _, error = run_tool("train", place.distilled, *options)
    assert code == 1 and "500" in error


def test_class_count_clash_of_model_and_data(place, run_tool, tmp_path):
    config = place.variant(
        "clash.py", "model = dict(student=dict(roi_head=dict(bbox_head=dict(num_classes=3))))"
    )
    code, _, error = run_tool("train", config, "--work-dir", tmp_path / "run")
    assert code == 1 and "3" in error and "10" in error


def test_corrupt_image_stops_with_its_name(place, run_tool, own_data):
    data, options = own_data
    picture = data / "JPEGImages/train_00001.jpg"
    picture.write_bytes(b"no image")
    code, _, error = run_tool("train", place.distilled, *options)
    assert code == 1 and "train_00001.jpg" in error


@pytest.mark.parametrize("loader", ["train_dataloader", "test_dataloader"])
def test_missing_data(place, run_tool, tmp_path, loader):
    gone = f"{loader}.dataset.data_root={tmp_path / 'gone'}"
    code, _, error = run_tool("train", place.distilled, "--cfg-options", gone)
    assert code == 1 and "gone is missing" in error


def test_wrong_layer_name(place, run_tool, tmp_path):
    config = place.variant("layer.py", 'model = dict(terms=dict(at=dict(layers="nek[0]")))')
    code, _, error = run_tool("train", config, "--work-dir", tmp_path / "run")
    assert code == 1 and "no layer 'nek'" in error and "neck" in error


@pytest.mark.parametrize("kind", ["teacher", "distilled"])
def test_a_loss_that_is_not_finite_stops_plain_and_distilled_training(
    place, run_tool, tmp_path, kind
):
    options = ["--cfg-options", "optim_wrapper.optimizer.lr=1e30", "--work-dir", tmp_path / "run"]
    code, _, error = run_tool("train", getattr(place, kind), *options)
    assert code == 1 and re.search("must be finite, but at iteration [12] .*loss", error), error
    assert not list((tmp_path / "run").glob("*.pth"))


def test_missing_truncated_and_dangerous_teacher(place, run_tool, tmp_path):
    broken, evil = tmp_path / "broken.pth", tmp_path / "evil.pth"
    broken.write_bytes(place.teacher_weights.read_bytes()[:-2000])
    torch.save({"state_dict": {}, "meta": _Payload()}, evil)
    for path in (tmp_path / "none.pth", broken, evil):
        code, out, error = run_tool(
            "train", place.distilled, "--work-dir", tmp_path / "run",
            "--cfg-options", f"model.teacher.checkpoint={path}",
        )  # fmt: skip
        assert code == 1 and path.name in error
        assert "has run" not in out


class _Payload:
    def __reduce__(self):
        return print, ("code in the checkpoint has run",)
