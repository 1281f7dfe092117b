"""kdkit train and kdkit check: the weights that a student starts from."""

import json

import pytest
import torch

from kd_core.checkpoint.load import read_checkpoint
from kd_engine.weights.safe_globals import ALLOWED

STOP = "model = dict(terms=dict(at=dict(schedule=dict(type='kd_core.schedules.Stop', at=3))))\n"


def train(run_tool, config, folder, *options):
    return run_tool("train", config, "--work-dir", folder, "--cfg-options", *options)


def logged(folder):
    (scalars,) = folder.glob("*/vis_data/scalars.json")
    return [json.loads(line) for line in scalars.read_text().splitlines()]


def test_training_starts_from_the_weights_alone(place, run_tool, tmp_path):
    """The file is of a distilled run of 3 iterations: a term that stops at 3 begins again."""
    given = read_checkpoint(place.weights, ALLOWED)["state_dict"]
    assert given["distiller.iteration"] == 3
    config = place.variant("stop.py", STOP)
    # With a learning rate of 0 what is saved is what it started from.
    code, _, error = train(
        run_tool, config, tmp_path / "run", f"load_from={place.weights}",
        "optim_wrapper.optimizer.lr=0.0",
    )  # fmt: skip
    assert code == 0, error
    saved = read_checkpoint(tmp_path / "run/epoch_1.pth", ALLOWED)["state_dict"]
    assert saved["distiller.iteration"] == 3
    assert any("loss_at" in row for row in logged(tmp_path / "run"))
    names = [key for key in given if key.endswith((".weight", ".bias"))]
    for key in (key for key in names if not key.startswith("distiller.")):
        assert torch.equal(saved[key], given[key]), key


def spoil(weights, how):
    if how == "prefix":
        return {f"net.{key}": value for key, value in weights.items()} | {"x.y": torch.zeros(1)}
    if how == "nan":
        return weights | {"neck.fpn_convs.0.conv.bias": torch.full((16,), float("nan"))}
    return weights


@pytest.mark.parametrize(
    "how, words",
    [
        ("absent", "There is no checkpoint"),
        ("prefix", "prefix='net.' takes those alone"),
        ("teacher", "mis-shaped"),
        ("nan", "neck.fpn_convs.0.conv.bias has 16 NaN"),
    ],
)
@pytest.mark.parametrize("tool", ["train", "check"])
def test_what_does_not_fit_stops_before_training(place, run_tool, tmp_path, how, words, tool):
    path = tmp_path / "start.pth"
    if how == "teacher":  # another architecture
        path = place.teacher_weights
    elif how != "absent":
        weights = read_checkpoint(place.weights, ALLOWED)["state_dict"]
        torch.save(spoil(weights, how), path)
    folder = ["--work-dir", tmp_path / "run"] if tool == "train" else []
    code, out, error = run_tool(
        tool, place.distilled, *folder, "--cfg-options", f"load_from={path}"
    )  # fmt: skip
    assert code == 1 and words in out + error
    assert not list(tmp_path.glob("run/*.pth"))


def test_other_classes_start_from_what_fits(place, run_tool, tmp_path):
    head = "model = dict(roi_head=dict(bbox_head=dict(num_classes=3)))\n"
    config = place.variant("fewer.py", head, base="base.py")
    options = [f"load_from={place.weights}", "load_options.allow_partial=True"]
    code, text, _ = run_tool("check", config, "--cfg-options", *options[:1])
    assert code == 1 and "The checkpoint has 10 classes, the model 3" in text
    code, text, _ = run_tool("check", config, "--cfg-options", *options)
    weights = text.partition("== weights")[2].partition("== data")[0]
    assert "keys of it" in weights and weights.endswith("ok\n")


@pytest.mark.parametrize("tool", ["train", "check"])
def test_a_backbone_s_file_that_does_not_fit_stops_too(place, run_tool, tmp_path, tool):
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "wide.pth")
    start = f"dict(_delete_=True, type='Pretrained', checkpoint={str(tmp_path / 'wide.pth')!r})"
    config = place.variant(
        f"backbone_{tool}.py", f"model = dict(student=dict(backbone=dict(init_cfg={start})))"
    )
    folder = ["--work-dir", tmp_path / "run"] if tool == "train" else []
    code, out, error = run_tool(tool, config, *folder)
    assert code == 1 and "wide.pth does not fit ResNet" in out + error


def test_resuming_does_not_read_what_the_run_started_from(place, run_tool, tmp_path):
    code, _, error = run_tool(
        "train", place.distilled, "--work-dir", tmp_path / "run", "--resume", place.weights,
        "--cfg-options", "load_from=none.pth", "train_cfg.max_epochs=2",
    )  # fmt: skip
    assert code == 0, error
    saved = read_checkpoint(tmp_path / "run/epoch_2.pth", ALLOWED)["state_dict"]
    assert saved["distiller.iteration"] == 6
