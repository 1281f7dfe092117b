"""kdkit export on a run with an EMAHook."""

import re

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from safetensors import safe_open

from kd_core.checkpoint.load import read_checkpoint
from kd_engine.weights.checkpoint import ALLOWED


@pytest.fixture(scope="module")
def saved(place):
    return read_checkpoint(place.weights, ALLOWED)


def test_plain_mmdet_loads_the_export_without_our_help(place, run_tool, tmp_path, saved):
    out = tmp_path / "student.pth"
    code, text, error = run_tool("export", place.distilled, place.weights, out)
    assert code == 0, error
    boxes = re.search(r"predicts the same (\d+) boxes .* on 4 images of its test data", text)
    assert boxes and int(boxes[1]) > 0

    content = torch.load(out, weights_only=True)
    assert set(content) == {"meta", "state_dict"}
    assert content["meta"]["dataset_meta"]["classes"] == tuple("0123456789")
    assert not [key for key in content["state_dict"] if key.startswith("distiller.")]

    from mmdet.registry import MODELS

    config = Config.fromfile(tmp_path / "student.py")
    assert "kd_" not in config.pretty_text
    init_default_scope("mmdet")
    model = MODELS.build(config.model)
    model.load_state_dict(content["state_dict"], strict=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["student.pth", "student.py"]


def test_averaged_weights_are_exported(place, run_tool, tmp_path, saved):
    out = tmp_path / "student.pth"
    assert run_tool("export", place.distilled, place.weights, out)[0] == 0
    exported = torch.load(out, weights_only=True)["state_dict"]
    last = saved["ema_state_dict"]  # mmengine swaps: the last step's weights lie here
    changed = 0
    for key, value in exported.items():
        assert torch.equal(value, saved["state_dict"][key])
        changed += not torch.equal(value, last[f"module.{key}"])
    assert changed > 20


def test_safetensors_holds_the_same_weights_and_the_classes(place, run_tool, tmp_path, saved):
    out = tmp_path / "student.safetensors"
    code, _, error = run_tool("export", place.distilled, place.weights, out)
    assert code == 0, error
    with safe_open(out, "pt") as file:
        assert "9" in file.metadata()["classes"]
        keys = set(file.keys())
        assert keys == {key for key in saved["state_dict"] if not key.startswith("distiller.")}
        key = "backbone.conv1.weight"
        assert torch.equal(file.get_tensor(key), saved["state_dict"][key])


def test_without_data_random_images_serve(place, run_tool, tmp_path):
    code, text, error = run_tool(
        "export", place.distilled, place.weights, tmp_path / "student.pth",
        "--cfg-options", f"test_dataloader.dataset.data_root={tmp_path / 'nowhere'}",
    )  # fmt: skip
    assert code == 0, error
    assert re.search(r"predicts the same [1-9]\d* boxes .* on 4 random images", text)


def test_the_teacher_is_not_needed(place, run_tool, tmp_path):
    config = place.variant(
        "lost_teacher.py", 'model = dict(teacher=dict(config="lost.py", checkpoint="lost.pth"))'
    )
    code, _, error = run_tool("export", config, place.weights, tmp_path / "student.pth")
    assert code == 0, error


def test_a_plain_run_can_be_exported(place, run_tool, tmp_path):
    code, _, error = run_tool(
        "export", place.teacher, place.teacher_weights, tmp_path / "teacher.pth"
    )
    assert code == 0, error


def test_weights_of_another_model_leave_nothing_behind(place, run_tool, tmp_path):
    code, _, error = run_tool(
        "export", place.distilled, place.teacher_weights, tmp_path / "student.pth"
    )
    assert code == 1
    assert "does not fit FasterRCNN" in error and "backbone.conv1.weight" in error
    assert list(tmp_path.iterdir()) == []


def test_wrong_predictions_are_noticed(place, run_tool, tmp_path, monkeypatch):
    import kd_engine.evaluate as student

    honest = student.student_checkpoint

    def dishonest(*arguments):
        content = honest(*arguments)
        content["state_dict"]["roi_head.bbox_head.fc_reg.bias"] += 1.0
        return content

    monkeypatch.setattr(student, "student_checkpoint", dishonest)
    code, _, error = run_tool("export", place.distilled, place.weights, tmp_path / "student.pth")
    assert code == 1 and "pred_instances" in error and "differs by up to" in error
    assert list(tmp_path.iterdir()) == []


def test_another_file_name_is_refused(place, run_tool, tmp_path):
    code, _, error = run_tool("export", place.distilled, place.weights, tmp_path / "student.onnx")
    assert code == 1 and ".safetensors" in error
