"""The tools on classification: what a short run makes, what is made of it, what is refused."""

import json
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

import kd_cls  # noqa: F401
from kd_cls.predictions import read_predictions
from kd_engine.config.paths import shown_path

from .classification_run import ALONE, DISTILLED, MANY, TEACHER, short, state_of


def logged(run):
    rows = []
    for file in sorted(run.glob("*/vis_data/scalars.json")):
        rows += [json.loads(line) for line in file.read_text().splitlines()]
    return rows


@pytest.fixture
def metrics(run_tool, tmp_path):
    """Run kdkit test; returns its metrics."""

    def measure(*arguments):
        out = tmp_path / "metrics.json"
        written = ("--out", out, "--overwrite", "--work-dir", tmp_path)
        code, _, error = run_tool("test", *arguments[:2], *written, *arguments[2:])
        assert code == 0, error
        return json.loads(out.read_text())

    return measure


def test_a_checkpoint_is_the_plain_students_with_what_was_trained_beside_it(classification):
    state = state_of(classification.run / "epoch_2.pth")
    assert state.pop("distiller.iteration") == 6
    assert not [key for key in state if key.startswith("distiller.")]  # widths are equal
    alone = MODELS.build(Config.fromfile(ALONE).model)
    alone.load_state_dict(state, strict=True)


def test_terms_and_accuracy_are_logged(classification):
    rows = logged(classification.run)
    steps = [row for row in rows if "loss_ce" in row]
    assert len(steps) == 6
    names = ("loss_hmat_position", "loss_hmat_activation", "loss_hmat_channel")
    for row in steps:
        assert all(row[name] > 0 for name in names), row
    scores = [row["cls/top1"] for row in rows if "cls/top1" in row]
    assert len(scores) == 2 and all(0 < score < 100 for score in scores)


def test_a_resumed_run_is_the_uninterrupted_one(classification, run_tool, tmp_path):
    """Without random transforms, whose numbers no checkpoint holds, every bit is the same."""
    fixed = (*classification.named, "train_dataloader.dataset.transforms=[]")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert run_tool("train", DISTILLED, *short(whole, *fixed, epochs=2))[0] == 0
    assert run_tool("train", DISTILLED, *short(halves, *fixed))[0] == 0
    code, _, error = run_tool("train", DISTILLED, "--resume", *short(halves, *fixed, epochs=2))
    assert code == 0, error
    first, second = (state_of(run / "epoch_2.pth") for run in (whole, halves))
    assert first.keys() == second.keys() and first["distiller.iteration"] == 6
    # Runs of one second share a log, and the second one begins it anew.
    assert [row["step"] for row in logged(halves) if "loss_ce" in row][-3:] == [4, 5, 6]
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_test_and_export_give_the_same_metrics(classification, metrics, run_tool, tmp_path):
    weights = classification.run / "epoch_2.pth"
    lost = "model.teacher.checkpoint=lost.pth"
    found = metrics(MANY, weights, "--cfg-options", lost)  # the teacher is not needed
    assert set(found) == {"cls/top1", "cls/top5", "cls/ECE"}
    last = [row for row in logged(classification.run) if "cls/top1" in row][-1]
    assert {key: last[key] for key in found} == found
    for suffix in (".pth", ".safetensors"):
        student = tmp_path / f"student{suffix}"
        code, text, error = run_tool("export", MANY, weights, student)
        assert code == 0, error
        assert "ok: plain Classifier loads" in text and "4 rows of logits of size 10" in text
        assert f"kdkit test {student.with_suffix('.py')} {student}" in text
        assert metrics(student.with_suffix(".py"), student) == found
    model = Config.fromfile(tmp_path / "student.py").model
    assert model.type == "kd_cls.Classifier" and "teacher" not in model


def test_agreement_with_the_teacher(classification, metrics, tmp_path):
    file = tmp_path / "teacher.npz"
    written = metrics(MANY, "--teacher", "--cfg-options", *classification.named,
                      f"test_evaluator.predictions_out={file}")  # fmt: skip
    assert written == metrics(TEACHER, classification.teacher / "epoch_1.pth")
    compared = f"test_evaluator.teacher_predictions={file}"
    own = tmp_path / "student.npz"
    found = metrics(MANY, classification.run / "epoch_2.pth", "--cfg-options", compared,
                    f"test_evaluator.predictions_out={own}")  # fmt: skip
    both = [read_predictions(str(one)) for one in (own, file)]
    order = [one.ids.argsort() for one in both]
    same = both[0].predictions[order[0]] == both[1].predictions[order[1]]
    assert len(same) == 359 and found["cls/agreement"] == pytest.approx(100 * float(same.mean()))
    itself = metrics(TEACHER, classification.teacher / "epoch_1.pth", "--cfg-options", compared)
    assert itself["cls/agreement"] == 100


def test_check(classification, run_tool):
    code, text, _ = run_tool("check", MANY, "--images", "--gradients", "network.stage3",
                             "--cfg-options", *classification.named)  # fmt: skip
    assert code == 0, text
    assert "timm" in text and "every image decodes" in text
    assert "train: BuiltInDigits, 1,438 images of 10 classes" in text
    assert re.search(r"^hmat +low +network.stage1 +2x16x32x32 +network.stage1", text, re.M)
    assert re.search(r"^loss_ce +[\d.]+ +[\d.]+% of the gradient", text, re.M)
    code, text, _ = run_tool("check", ALONE)
    assert code == 0 and "plain Classifier, no teacher" in text
    lost = (*classification.named, "model.teacher.checkpoint=none.pth")
    code, text, _ = run_tool("check", DISTILLED, "--cfg-options", *lost)
    assert code == 1 and f"first: kdkit train {shown_path(str(TEACHER))}" in text


def test_calibrate(classification, run_tool):
    options = ("--batches", "2", "--cfg-options", *classification.named)
    code, text, error = run_tool("calibrate", MANY, *options, "model.terms.hmat.weight=auto")
    assert code == 0, error
    assert re.search(r"^hmat +auto +0\.\d\d at weight 1 +0\.\d\d to 0\.\d\d", text, re.M)
    (pasted,) = re.findall(r"^--cfg-options (.*)$", text, re.M)
    code, text, error = run_tool("calibrate", MANY, *options, pasted)
    assert code == 0, error
    assert re.search(rf"^hmat +{pasted.split('=')[1]} +0\.75 ", text, re.M)
    code, _, error = run_tool("calibrate", ALONE)
    assert code == 1 and "weights of terms, but the config's model, kd_cls.Classifier, has" in error
    code, _, error = run_tool("calibrate", MANY, "--share", "1")
    assert code == 1 and "share must be above 0 and below 1" in error


def test_the_layers_are_listed(classification, run_tool):
    code, text, error = run_tool("layers", DISTILLED, "--depth", "2")
    assert code == 0, error
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert lines["network.stage2"] == ["Sequential", "2x32x16x16"]
    assert lines["logits"] == ["Identity", "2x10"] and "distiller" not in text
    options = ("--teacher", "--size", "32", "32", "--match", "stage3")
    code, text, error = run_tool("layers", DISTILLED, *options)
    assert code == 0 and "network.stage3.2.relu" in text, error


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("test_dataloader.dataset.split=train", "images of the test data are training images"),
        ("model.student.network.num_classes=9", "must have as many classes .* has 9 and the train"),
        ("model.student.network.name=resnet9", "The nearest names: resnet"),
        ("model.student.network.type=kd_cls.Cifar", "kd_cls.CifarNetwork"),
        ("model.student.image_size=28", "one size, but .* student is 28 x 28 .* 32 x 32"),
        ("model.terms.kd.layers=logit", "no layer 'logit'.*logits"),
        ("train_dataloader.dataset.split=all", "split must be one of train, val"),
        ("train_dataloader.dataset.transforms.0.size=64", "Required crop size .64, 64. is larger"),
    ],
)
def test_wrong_settings_are_named(classification, run_tool, tmp_path, option, message):
    options = short(tmp_path / "bit", *classification.named, option)
    code, _, error = run_tool("train", DISTILLED, *options)
    assert code == 1 and not list((tmp_path / "bit").glob("*.pth"))
    assert re.search(f"error: .*{message}", error, re.S), error[-2000:]


def test_images_of_the_wrong_size_are_refused(run_tool, tmp_path):
    code, _, error = run_tool("train", ALONE, *short(tmp_path / "bit", "model.image_size=28"))
    assert code == 1 and "must have 28 x 28 pixels" in error and "they have 32 x 32" in error


def test_a_teacher_of_other_classes_is_refused(classification, run_tool, tmp_path):
    config = tmp_path / "teacher.py"
    config.write_text(f'_base_ = "{TEACHER}"\nmodel = dict(network=dict(num_classes=9))\n')
    named = (*classification.named, f"model.teacher.config={config}")
    code, _, error = run_tool("train", DISTILLED, *short(tmp_path / "bit", *named))
    assert code == 1 and re.search(r"classifier.weight +\(10, 64\) +\(9, 64\)", error), error
    named = (*named, "model.teacher.checkpoint=None")
    code, _, error = run_tool("train", DISTILLED, *short(tmp_path / "bit", *named))
    assert code == 1 and "the student has 10 and the teacher 9" in error


def test_training_that_diverges_is_stopped_with_the_images(classification, run_tool, tmp_path):
    state = state_of(classification.run / "epoch_2.pth")
    state["network.classifier.bias"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    code, _, error = run_tool("test", MANY, tmp_path / "nan.pth", "--work-dir", tmp_path)
    assert code == 1 and "nan.pth network.classifier.bias has 1 NaN of 10" in error
    state["network.classifier.bias"].fill_(0)
    state["network.classifier.weight"].fill_(3e38)  # finite, but what it makes is not
    torch.save(state, tmp_path / "large.pth")
    code, _, error = run_tool("test", MANY, tmp_path / "large.pth", "--work-dir", tmp_path)
    assert code == 1
    assert re.search(r"must be finite, but those of 359 \(id \d+, .*\) of 359 images", error)
