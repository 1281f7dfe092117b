"""A work dir as checkpoint: the tools take its best one, or else its last whole one."""

import json
import shutil

import torch

from kd_core.checkpoint.load import read_checkpoint
from kd_engine.weights.checkpoint import ALLOWED

from .retrieval_run import MANY


def test_evaluation_takes_the_last_one_or_the_best(place, run_tool, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(place.weights, run / "epoch_1.pth")
    (run / "epoch_2.pth").write_bytes(place.weights.read_bytes()[:5000])
    out = tmp_path / "metrics.json"
    found = {}
    for best in (False, True):
        if best:
            shutil.copy(place.weights, run / "best_coco_bbox_mAP_epoch_1.pth")
        code, text, error = run_tool(
            "test", place.distilled, run, "--out", out, "--overwrite", "--work-dir", tmp_path
        )
        assert code == 0, error
        name = "best_coco_bbox_mAP_epoch_1.pth" if best else "epoch_1.pth"
        assert f"{run}: {run / name} is taken" in text
        found[best] = json.loads(out.read_text())
    assert found[True] == found[False]


def test_export_takes_it_too(place, run_tool, tmp_path):
    code, text, error = run_tool("export", place.distilled, place.run, tmp_path / "a.pth")
    assert code == 0, error
    assert text.count(f"{place.weights} is taken") == 1
    ours, theirs = (
        read_checkpoint(path, ALLOWED)["state_dict"] for path in (tmp_path / "a.pth", place.weights)
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_training_and_check_take_the_teachers(place, run_tool, tmp_path):
    named = f"model.teacher.checkpoint={place.teacher_run}"
    occupied = f"work_dir={place.run}"
    code, text, error = run_tool("check", place.distilled, "--cfg-options", named, occupied)
    assert code == 0, text + error
    assert f"{place.run}, which holds a finished run (epoch_1.pth): train with --resume" in text
    assert f"teacher: {place.teacher_weights}" in text and "unfinished" not in error
    code, text, error = run_tool(
        "train", place.distilled, "--work-dir", tmp_path / "run", "--cfg-options", named
    )
    assert code == 0, error
    assert f"{place.teacher_weights} is taken" in text
    saved = read_checkpoint(tmp_path / "run" / "epoch_1.pth", ALLOWED)["meta"]["cfg"]
    assert str(place.teacher_weights) in saved
    longer = ["--cfg-options", named, "train_cfg.max_epochs=2"]
    code, text, error = run_tool(
        "train", place.distilled, "--work-dir", tmp_path / "run", "--resume", *longer
    )
    assert code == 0, error
    assert "max_epochs: 1 -> 2" in text + error and "teacher.checkpoint" not in text + error


def test_a_work_dir_without_a_checkpoint(place, run_tool, tmp_path):
    code, _, error = run_tool("test", place.distilled, tmp_path, "--work-dir", tmp_path)
    assert code == 1 and f"but {tmp_path} holds none" in error
    code, _, error = run_tool(
        "train", place.distilled, "--work-dir", tmp_path / "run", "--cfg-options",
        f"model.teacher.checkpoint={tmp_path}",
    )  # fmt: skip
    assert code == 1 and f"its checkpoint {tmp_path} is missing" in error


def test_embeddings_are_of_the_last_one(retrieval, run_tool, tmp_path):
    for source, name in ((retrieval.run, "a.npz"), (retrieval.run / "epoch_2.pth", "b.npz")):
        code, _, error = run_tool("embed", MANY, source, tmp_path / name)
        assert code == 0, error
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
