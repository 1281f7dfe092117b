"""The tools on retrieval: what a short run makes, and what is made of it."""

import json
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

import kd_retrieval  # noqa: F401
from kd_engine.config.paths import shown_path

from .retrieval_run import ALONE, DISTILLED, MANY, TEACHER, short, state_of


def logged(run):
    rows = []
    for file in sorted(run.glob("*/vis_data/scalars.json")):
        rows += [json.loads(line) for line in file.read_text().splitlines()]
    return rows


def test_a_checkpoint_is_the_plain_students_with_what_was_trained_beside_it(retrieval):
    state = state_of(retrieval.run / "epoch_2.pth")
    assert state.pop("distiller.iteration") == 6
    beside = [key for key in state if key.startswith("distiller.connectors.hmat.high_0.")]
    assert len(beside) == 6
    for key in beside:
        del state[key]
    alone = MODELS.build(Config.fromfile(ALONE).model)
    alone.load_state_dict(state, strict=True)


def test_terms_and_recall_are_logged(retrieval):
    rows = logged(retrieval.run)
    steps = [row for row in rows if "loss_metric" in row]
    assert len(steps) == 6
    names = ("loss_hmat_position", "loss_asckd", "loss_distance", "loss_angle")
    for row in steps:
        assert all(row[name] > 0 for name in names), row
    scores = [row["recall/R@1"] for row in rows if "recall/R@1" in row]
    assert len(scores) == 2 and all(0 < score < 100 for score in scores)


def test_a_resumed_run_is_the_uninterrupted_one(retrieval, run_tool, tmp_path):
    """Without random transforms, whose numbers no checkpoint holds, every bit is the same."""
    fixed = (*retrieval.named, "train_dataloader.dataset.transforms=[]")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert run_tool("train", DISTILLED, *short(whole, *fixed, epochs=2))[0] == 0
    assert run_tool("train", DISTILLED, *short(halves, *fixed))[0] == 0
    (halves / "epoch_9.pth").write_bytes((halves / "epoch_1.pth").read_bytes()[:5000])
    code, _, error = run_tool("train", DISTILLED, "--resume", *short(halves, *fixed, epochs=2))
    assert code == 0, error
    first, second = (state_of(run / "epoch_2.pth") for run in (whole, halves))
    assert first.keys() == second.keys() and first["distiller.iteration"] == 6
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    # Runs of one second share a log, and the second one begins it anew.
    assert [row["step"] for row in logged(halves) if "loss_metric" in row][-3:] == [4, 5, 6]


def test_test_and_export_give_the_same_metrics(retrieval, run_tool, tmp_path):
    def metrics(*arguments):
        out = tmp_path / "metrics.json"
        code, text, error = run_tool(
            "test", *arguments, "--out", out, "--overwrite", "--work-dir", tmp_path
        )
        assert code == 0, error
        return json.loads(out.read_text()), text

    weights = retrieval.run / "epoch_2.pth"
    lost = "model.teacher.checkpoint=lost.pth"
    found, text = metrics(MANY, weights, "--cfg-options", lost)  # the teacher is not needed
    assert found["recall/queries"] == 714 and re.search(r"^recall/R@1 +\d", text, re.M)
    assert (
        found["recall/R@8"]
        == [row for row in logged(retrieval.run) if "recall/R@8" in row][-1]["recall/R@8"]
    )
    for suffix in (".pth", ".safetensors"):
        student = tmp_path / f"student{suffix}"
        code, text, error = run_tool("export", MANY, weights, student)
        assert code == 0, error
        assert "ok: plain Embedder loads" in text and "embeddings of size 32" in text
        exported, _ = metrics(student.with_suffix(".py"), student)
        assert exported == found
    teacher, _ = metrics(MANY, "--teacher", "--cfg-options", *retrieval.named)
    assert teacher != found
    assert teacher == metrics(TEACHER, retrieval.teacher / "epoch_1.pth")[0]


def test_no_score_on_classes_that_were_trained_on(retrieval, run_tool, tmp_path):
    known = "test_dataloader.dataset.split=train"
    test = [
        "test",
        MANY,
        retrieval.run / "epoch_2.pth",
        "--work-dir",
        tmp_path,
        "--cfg-options",
        known,
    ]
    code, _, error = run_tool(*test)
    assert code == 1 and "train and test data share 4 of 4" in error
    code, text, error = run_tool(*test, "test_evaluator.allow_shared_classes=True")
    assert code == 0 and "recall/R@1" in text, error


def test_an_exported_config_trains_no_more_and_knows_no_teacher(retrieval, run_tool, tmp_path):
    code, _, error = run_tool("export", MANY, retrieval.run / "epoch_2.pth", tmp_path / "s.pth")
    assert code == 0, error
    model = Config.fromfile(tmp_path / "s.py").model
    assert model.type == "kd_retrieval.Embedder" and "criterion" not in model
    assert "teacher" not in (tmp_path / "s.py").read_text().replace(str(tmp_path), "")
    code, _, error = run_tool("train", tmp_path / "s.py", *short(tmp_path / "again"))
    assert code == 1 and "needs a criterion or a teacher to be trained" in error


def test_check(retrieval, run_tool):
    code, text, _ = run_tool(
        "check", MANY, "--images", "--gradients", "trunk.layer4", "--cfg-options", *retrieval.named
    )
    assert code == 0, text
    assert "pytorch-metric-learning" in text and "every image decodes" in text
    assert "train: BuiltInDigits, 1,083 images of 6 classes" in text
    assert re.search(r"^hmat +low +trunk.layer1 +2x8x32x32 +trunk.layer1 +2x32x32x32", text, re.M)
    assert re.search(r"^loss_angle +[\d.]+ +[\d.]+% of the gradient", text, re.M)
    code, text, _ = run_tool("check", ALONE)
    assert code == 0 and "plain Embedder, no teacher" in text
    lost = (*retrieval.named, "model.teacher.checkpoint=none.pth")
    code, text, _ = run_tool("check", DISTILLED, "--cfg-options", *lost)
    assert code == 1 and f"first: kdkit train {shown_path(str(TEACHER))}" in text


def test_calibrate(retrieval, run_tool):
    options = ("--batches", "2", "--cfg-options", *retrieval.named)
    code, text, error = run_tool("calibrate", MANY, *options)
    assert code == 0, error
    (pasted,) = re.findall(r"^--cfg-options (.*)$", text, re.M)
    assert len(pasted.split()) == 4
    code, text, error = run_tool("calibrate", MANY, *options, *pasted.split())
    assert code == 0, error
    assert len(re.findall(r"^(?:hmat|asckd|distance|angle) .* 0\.75 ", text, re.M)) == 4


def test_the_layers_are_listed(retrieval, run_tool):
    code, text, error = run_tool("layers", DISTILLED, "--depth", "2")
    assert code == 0, error
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert lines["trunk.layer3"] == ["Sequential", "2x32x8x8"]
    assert lines["embedding"] == ["UnitLength", "2x32"] and "criterion" in lines
    code, text, error = run_tool("layers", DISTILLED, "--teacher", "--size", "64", "32")
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert lines["trunk.layer3"] == ["Sequential", "2x128x4x2"]


def test_a_student_in_its_teachers_gallery(retrieval, run_tool, tmp_path):
    """Sizes that differ are named; with an aligning term of equal sizes there is a score."""
    gallery = tmp_path / "gallery.npz"
    code, _, error = run_tool("embed", TEACHER, retrieval.teacher / "epoch_1.pth", gallery)
    assert code == 0, error
    searched = f"test_evaluator.gallery={gallery}"
    code, text, error = run_tool("check", DISTILLED, "--cfg-options", *retrieval.named, searched)
    assert code == 0, text
    test = ["test", DISTILLED, retrieval.run / "epoch_2.pth", "--work-dir", tmp_path]
    code, _, error = run_tool(*test, "--cfg-options", searched)
    assert code == 1 and "model's have 32 numbers and those of" in error
    config = tmp_path / "aligned.py"
    config.write_text(
        f'_base_ = "{DISTILLED}"\n'
        "model = dict(student=dict(dim=256), terms=dict(cosine=dict("
        'loss=dict(type="kd_core.losses.EmbeddingCosineLoss"), layers="embedding")))\n'
    )
    code, text, error = run_tool("train", config, *short(tmp_path / "aligned", *retrieval.named))
    assert code == 0, error
    code, text, error = run_tool("test", config, tmp_path / "aligned/epoch_1.pth", "--work-dir",
                                 tmp_path, "--cfg-options", searched)  # fmt: skip
    assert code == 0 and re.search(r"^asymmetric/R@1 +\d", text, re.M), error


def test_initial_weights_are_needed_only_where_training_starts(retrieval, run_tool, tmp_path):
    """A trained student can be tested, listed and exported without the file it started from."""
    first = tmp_path / "first.pth"
    state = state_of(retrieval.run / "epoch_2.pth")
    torch.save({key.removeprefix("trunk."): value for key, value in state.items()
                if key.startswith("trunk.")}, first)  # fmt: skip
    config = tmp_path / "started.py"
    config.write_text(f'_base_ = "{ALONE}"\nmodel = dict(trunk=dict(checkpoint={str(first)!r}))\n')
    run = tmp_path / "started"
    code, _, error = run_tool("train", config, *short(run))
    assert code == 0, error
    first.unlink()
    weights, student = run / "epoch_1.pth", tmp_path / "s.pth"
    for command in (
        ["test", config, weights, "--work-dir", tmp_path],
        ["layers", config],
        ["embed", config, weights, tmp_path / "e.npz"],
        ["export", config, weights, student],
        ["test", student.with_suffix(".py"), student, "--work-dir", tmp_path],
    ):
        code, _, error = run_tool(*command)
        assert code == 0, (command, error)
    assert "first.pth" not in student.with_suffix(".py").read_text()
    code, _, error = run_tool("train", config, *short(tmp_path / "again"))
    assert code == 1 and "first.pth" in error
    distilled = tmp_path / "under.py"
    teacher = dict(config=str(config), checkpoint=str(weights))
    distilled.write_text(f'_base_ = "{DISTILLED}"\nmodel = dict(teacher={teacher})\n')
    code, _, error = run_tool("train", distilled, *short(tmp_path / "under"))
    assert code == 0, error


@pytest.mark.slow
def test_a_missing_teacher_is_trained_first(run_tool, tmp_path):
    """By one command; when it is there, it is left as it is."""
    config, weights = tmp_path / "small.py", tmp_path / "small/epoch_1.pth"
    config.write_text(
        f'_base_ = "{TEACHER}"\n'
        "model = dict(trunk=dict(options=dict(channels=(8, 8, 8, 8))))\n"
        "train_dataloader = dict(batch_sampler=dict(num_batches=2))\n"
        "train_cfg = dict(max_epochs=1, val_interval=1)\n"
    )
    named = (f"model.teacher.config={config}", f"model.teacher.checkpoint={weights}")
    code, _, error = run_tool("train", DISTILLED, *short(tmp_path / "run", *named))
    assert code == 1 and f"kdkit train {config}" in error
    for number in (1, 2):
        run = tmp_path / f"run{number}"
        code, _, error = run_tool("train", DISTILLED, "--with-teacher", *short(run, *named))
        assert code == 0, error
        assert (run / "epoch_1.pth").is_file()
        assert len(list(weights.parent.glob("2*/vis_data"))) == 1  # trained once


def test_only_a_config_file_can_be_trained_first(run_tool, tmp_path):
    named = (
        f"model.teacher.checkpoint={tmp_path / 'lost.pth'}",
        "model.teacher.config=mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
    )
    code, _, error = run_tool("train", DISTILLED, "--with-teacher", *short(tmp_path, *named))
    assert code == 1 and "--with-teacher trains what is a config file" in error
