"""kdkit train, check and export: a student that inherits layers of its teacher."""

import torch

from kd_core.checkpoint.load import read_checkpoint
from kd_engine.weights.safe_globals import ALLOWED

HEADS = 'dict(modules=["roi_head"], skip_mismatched=True)'


def weights(path):
    return read_checkpoint(path, ALLOWED)["state_dict"]


def test_training_starts_from_what_is_inherited_after_load_from(place, run_tool, tmp_path, caplog):
    config = place.variant("inherit.py", f"model = dict(inherit={HEADS})")
    code, _, error = run_tool(
        "train", config, "--work-dir", tmp_path, "--cfg-options", f"load_from={place.weights}",
        "optim_wrapper.optimizer.lr=0.0",
    )  # fmt: skip
    assert code == 0, error
    saved, teacher, first = map(
        weights, (tmp_path / "epoch_1.pth", place.teacher_weights, place.weights)
    )
    for layer in ("fc_cls", "fc_reg", "shared_fcs.1"):
        key = f"roi_head.bbox_head.{layer}.weight"
        assert torch.equal(saved[key], teacher[key])
        assert not torch.equal(saved[key], first[key])
    for key in ("roi_head.bbox_head.shared_fcs.0.bias", "neck.fpn_convs.0.conv.weight"):
        assert torch.equal(saved[key], first[key])
    said = [one.getMessage() for one in caplog.records if one.name == "kd_core.checkpoint.inherit"]
    assert len(said) == 1 and "784 input features against the teacher's 1176" in said[0]
    code, _, error = run_tool("export", config, tmp_path / "epoch_1.pth", tmp_path / "student.pth")
    assert code == 0, error
    exported = torch.load(tmp_path / "student.pth", weights_only=True)
    assert "inherit" not in exported["meta"]["cfg"]
    assert not [key for key in exported["state_dict"] if key not in saved]


def test_check_says_what_is_inherited_and_what_was_left_out(place, run_tool, caplog):
    code, text, error = run_tool("check", place.variant("i.py", f"model = dict(inherit={HEADS})"))
    assert code == 0, text
    assert "student starts from roi_head (6 tensors) of the teacher\n" in text
    assert "cannot be inherited" not in text
    said = text + error + caplog.text
    assert "roi_head: 784 input features against the teacher's 1176, so the layers" in said
    assert "roi_head.bbox_head.shared_fcs.0.weight  (32, 784)  (32, 1176)" in said


def test_check_names_the_widths_that_stand_in_the_way(place, run_tool):
    _, text, _ = run_tool("check", place.distilled)
    assert (
        "\ncannot be inherited as a whole: neck: 16 channels against the teacher's 24; "
        "rpn_head: 16 channels against the teacher's 24; "
        "roi_head: 784 input features against the teacher's 1176\n"
    ) in text


def test_what_does_not_fit_stops_before_the_teacher_is_trained(place, run_tool, tmp_path):
    config = place.variant("wide.py", 'model = dict(inherit=["neck"])')
    missing = tmp_path / "teacher" / "epoch_1.pth"
    code, _, error = run_tool(
        "train", config, "--with-teacher", "--work-dir", tmp_path / "run",
        "--cfg-options", f"model.teacher.checkpoint={missing}",
    )  # fmt: skip
    assert code == 1
    assert "neck: 16 channels against the teacher's 24:" in error
    assert "neck.fpn_convs.0.conv.weight" in error
    assert not missing.parent.exists()
    code, text, _ = run_tool("check", config)
    assert code == 1 and "neck: 16 channels against the teacher's 24:" in text
