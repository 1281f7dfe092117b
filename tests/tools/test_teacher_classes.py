"""Teacher that has learned other classes: reported or refused by check and training alike."""

import pytest
import torch

from kd_core.checkpoint.load import read_checkpoint
from kd_engine.weights.safe_globals import ALLOWED

SCORES = (
    "model = dict(terms=dict(at=dict(_delete_=True, "
    "loss=dict(type='kd_core.losses.FeatureImitationLoss'), "
    "layers='roi_head.bbox_head.fc_cls')))"
)


@pytest.fixture
def reversed_teacher(place, tmp_path):
    saved = read_checkpoint(place.teacher_weights, ALLOWED)
    saved["meta"]["dataset_meta"]["classes"] = tuple("9876543210")
    torch.save(saved, tmp_path / "teacher.pth")
    return f"model.teacher.checkpoint={tmp_path / 'teacher.pth'}"


def test_features_are_warned_of_in_check(place, run_tool, reversed_teacher):
    code, text, _ = run_tool("check", place.distilled, "--cfg-options", reversed_teacher)
    assert code == 0 and "in another order: number 0 is '9' there and '0' in the data" in text
    assert "nothing is wrong, but read the 1 warning(s)" in text


@pytest.mark.parametrize("tool", ["train", "check"])
def test_class_scores_are_refused(place, run_tool, reversed_teacher, tmp_path, tool):
    config = place.variant(f"scores_{tool}.py", SCORES)
    folder = ["--work-dir", tmp_path / "run"] if tool == "train" else []
    code, out, error = run_tool(tool, config, *folder, "--cfg-options", reversed_teacher)
    assert code == 1 and "the teacher must know the data's classes" in out + error


def test_a_classifier_s_run_saves_its_classes(classification):
    """The layers whose logits are compared."""
    saved = read_checkpoint(classification.teacher / "epoch_1.pth", ALLOWED)
    assert saved["meta"]["dataset_meta"]["classes"] == tuple("0123456789")
