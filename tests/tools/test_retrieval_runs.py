"""The tools on retrieval: a short run on the built-in digits, and what is made of it."""

import json
import os
import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

import kd_retrieval  # noqa: F401
from kd_core.checkpoint import read_checkpoint
from kd_engine.checkpoint import ALLOWED

from .conftest import ROOT, load_tool

DIGITS = ROOT / "configs/retrieval/digits"
ALONE, TEACHER, DISTILLED = (DIGITS / f"{name}.py" for name in ("student", "teacher", "rkd"))
MANY = DIGITS / "hmat_asckd_rkd.py"
SHORT = ("train_dataloader.batch_sampler.num_batches=3", "default_hooks.logger.interval=1",
         "log_level=WARNING", "train_cfg.val_interval=1")  # fmt: skip


def short(work_dir, *options, epochs=1):
    return ["--work-dir", work_dir, "--cfg-options", f"train_cfg.max_epochs={epochs}", *SHORT,
            *options]  # fmt: skip


def state_of(path):
    return read_checkpoint(path, ALLOWED)["state_dict"]


def logged(run):
    rows = []
    for file in sorted(run.glob("*/vis_data/scalars.json")):
        rows += [json.loads(line) for line in file.read_text().splitlines()]
    return rows


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A teacher of one epoch, and two of a student under it."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("retrieval")
    made = SimpleNamespace(folder=folder, teacher=folder / "teacher", run=folder / "run")
    made.named = f"model.teacher.checkpoint={made.teacher / 'epoch_1.pth'}"
    before = os.getcwd()
    os.chdir(ROOT)  # the configs name the teacher's config from there
    train = load_tool("train")
    train.main(list(map(str, [TEACHER, *short(made.teacher)])))
    train.main(list(map(str, [MANY, *short(made.run, made.named, epochs=2)])))
    yield made
    os.chdir(before)


def test_a_checkpoint_is_the_plain_students_with_what_was_trained_beside_it(runs):
    state = state_of(runs.run / "epoch_2.pth")
    assert state.pop("distiller.iteration") == 6
    beside = [key for key in state if key.startswith("distiller.connectors.hmat.high_0.")]
    assert len(beside) == 6
    for key in beside:
        del state[key]
    alone = MODELS.build(Config.fromfile(ALONE).model)
    alone.load_state_dict(state, strict=True)


def test_terms_and_recall_are_logged(runs):
    rows = logged(runs.run)
    steps = [row for row in rows if "loss_metric" in row]
    assert len(steps) == 6
    names = ("loss_hmat_position", "loss_asckd", "loss_distance", "loss_angle")
    for row in steps:
        assert all(row[name] > 0 for name in names), row
    scores = [row["recall/R@1"] for row in rows if "recall/R@1" in row]
    assert len(scores) == 2 and all(0 < score < 100 for score in scores)


def test_a_resumed_run_is_the_uninterrupted_one(runs, run_tool, tmp_path):
    """Without random transforms, whose numbers no checkpoint holds, every bit is the same."""
    fixed = (runs.named, "train_dataloader.dataset.transforms=[]")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert run_tool("train", DISTILLED, *short(whole, *fixed, epochs=2))[0] == 0
    assert run_tool("train", DISTILLED, *short(halves, *fixed))[0] == 0
    (halves / "epoch_9.pth").write_bytes((halves / "epoch_1.pth").read_bytes()[:5000])
    code, _, error = run_tool("train", DISTILLED, "--resume", *short(halves, *fixed, epochs=2))
    assert code == 0, error
    first, second = (state_of(run / "epoch_2.pth") for run in (whole, halves))
    assert first.keys() == second.keys() and first["distiller.iteration"] == 6
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert [row["step"] for row in logged(halves) if "loss_metric" in row] == [1, 2, 3, 4, 5, 6]


def test_test_and_export_give_the_same_metrics(runs, run_tool, tmp_path):
    def metrics(*arguments):
        out = tmp_path / "metrics.json"
        code, text, error = run_tool("test", *arguments, "--out", out, "--work-dir", tmp_path)
        assert code == 0, error
        return json.loads(out.read_text()), text

    weights = runs.run / "epoch_2.pth"
    lost = "model.teacher.checkpoint=lost.pth"
    found, text = metrics(MANY, weights, "--cfg-options", lost)  # the teacher is not needed
    assert found["recall/queries"] == 714 and re.search(r"^recall/R@1 +\d", text, re.M)
    assert (
        found["recall/R@8"]
        == [row for row in logged(runs.run) if "recall/R@8" in row][-1]["recall/R@8"]
    )
    for suffix in (".pth", ".safetensors"):
        student = tmp_path / f"student{suffix}"
        code, text, error = run_tool("export_student", MANY, weights, student)
        assert code == 0, error
        assert "ok: plain Embedder loads" in text and "embeddings of size 32" in text
        exported, _ = metrics(student.with_suffix(".py"), student)
        assert exported == found
    teacher, _ = metrics(MANY, "--teacher", "--cfg-options", runs.named)
    assert teacher != found
    assert teacher == metrics(TEACHER, runs.teacher / "epoch_1.pth")[0]


def test_no_score_on_classes_that_were_trained_on(runs, run_tool, tmp_path):
    known = "test_dataloader.dataset.split=train"
    test = ["test", MANY, runs.run / "epoch_2.pth", "--work-dir", tmp_path, "--cfg-options", known]
    code, _, error = run_tool(*test)
    assert code == 1 and "train and test data share 4 of 4" in error
    code, text, error = run_tool(*test, "test_evaluator.allow_shared_classes=True")
    assert code == 0 and "recall/R@1" in text, error


def test_an_exported_config_trains_no_more_and_knows_no_teacher(runs, run_tool, tmp_path):
    code, _, error = run_tool("export_student", MANY, runs.run / "epoch_2.pth", tmp_path / "s.pth")
    assert code == 0, error
    model = Config.fromfile(tmp_path / "s.py").model
    assert model.type == "kd_retrieval.Embedder" and "criterion" not in model
    assert "teacher" not in (tmp_path / "s.py").read_text().replace(str(tmp_path), "")
    code, _, error = run_tool("train", tmp_path / "s.py", *short(tmp_path / "again"))
    assert code == 1 and "needs a criterion or a teacher to be trained" in error


def test_check(runs, run_tool):
    code, text, _ = run_tool(
        "check", MANY, "--images", "--gradients", "trunk.layer4", "--cfg-options", runs.named
    )
    assert code == 0, text
    assert "pytorch-metric-learning" in text and "every picture decodes" in text
    assert "train: BuiltInDigits, 1,083 images of 6 classes" in text
    assert re.search(r"^hmat +low +trunk.layer1 +2x8x32x32 +trunk.layer1 +2x32x32x32", text, re.M)
    assert re.search(r"^loss_angle +[\d.]+ +[\d.]+% of the gradient", text, re.M)
    code, text, _ = run_tool("check", ALONE)
    assert code == 0 and "plain Embedder, no teacher" in text
    code, text, _ = run_tool("check", DISTILLED, "--cfg-options",
                             "model.teacher.checkpoint=none.pth")  # fmt: skip
    assert code == 1 and "tools/train.py configs/retrieval/digits/teacher.py" in text


def test_list_layers(runs, run_tool):
    code, text, error = run_tool("list_layers", DISTILLED, "--depth", "2")
    assert code == 0, error
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert lines["trunk.layer3"] == ["Sequential", "2x32x8x8"]
    assert lines["embedding"] == ["UnitLength", "2x32"] and "criterion" in lines
    code, text, error = run_tool("list_layers", DISTILLED, "--teacher", "--size", "64", "32")
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert lines["trunk.layer3"] == ["Sequential", "2x128x4x2"]


@pytest.fixture
def train_a_bit(runs, run_tool, tmp_path):
    """Train for one epoch of three batches; returns code, error and the checkpoint's state."""

    def train(*options, config=DISTILLED, flags=()):
        code, text, error = run_tool(
            "train", config, *flags, *short(tmp_path / "bit", runs.named, *options)
        )
        file = tmp_path / "bit/epoch_1.pth"
        return code, text + error, state_of(file) if file.exists() else None

    return train


def test_averaged_weights(runs, run_tool, train_a_bit, tmp_path):
    hook = "custom_hooks=[dict(type='EMAHook', momentum=0.5)]"
    config = tmp_path / "averaged.py"
    config.write_text(f'_base_ = "{DISTILLED}"\n{hook}\n')
    code, text, state = train_a_bit(config=config)
    assert code == 0, text
    saved = read_checkpoint(tmp_path / "bit/epoch_1.pth", ALLOWED)
    last = {key.removeprefix("module."): v for key, v in saved["ema_state_dict"].items()}
    key = "trunk.conv1.weight"
    assert not torch.equal(state[key], last[key])
    code, text, error = run_tool("export_student", config, tmp_path / "bit/epoch_1.pth",
                                 tmp_path / "s.pth")  # fmt: skip
    assert code == 0, error
    assert torch.equal(state_of(tmp_path / "s.pth")[key], state[key])


def test_accumulated_gradients(train_a_bit):
    code, text, state = train_a_bit("optim_wrapper.accumulative_counts=3")
    assert code == 0, text
    _, _, other = train_a_bit()
    key = "projection.weight"
    assert not torch.equal(state[key], other[key])  # one step instead of three
    assert all(torch.isfinite(value.float()).all() for value in state.values())


def test_bfloat16_on_a_cpu_is_a_setting_of_the_embedder(train_a_bit):
    code, text, state = train_a_bit("model.student.training.precision=bfloat16")
    assert code == 0, text
    assert state["trunk.conv1.weight"].dtype == torch.float32
    _, _, other = train_a_bit()
    difference = (state["trunk.conv1.weight"] - other["trunk.conv1.weight"]).abs().max()
    assert 0 < difference < 0.01


@pytest.mark.skipif(torch.cuda.is_available(), reason="mixed precision works there")
def test_mixed_precision_asks_for_a_gpu(train_a_bit):
    code, text, _ = train_a_bit(flags=["--amp"])
    assert code == 1 and "--amp needs a GPU" in text
    code, text, _ = train_a_bit("optim_wrapper.type=AmpOptimWrapper")
    assert code == 1 and "only available training on gpu" in text


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("test_dataloader.dataset.split=train", "train and test data share 4 of 4"),
        ("val_evaluator.ks=0", "ks must be whole numbers from 1"),
        ("model.student.trunk.name=resnet19", "The nearest names: resnet18"),
        ("model.student.trunk.type=kd_retrieval.Trunk", "kd_retrieval.TimmTrunk"),
        ("model.student.pooling=mean", "pooling must be one of average"),
        ("model.student.criterion.loss.type=Contrastive", "It has .*ContrastiveLoss"),
        ("model.student.criterion.miner.type=Hard", "It has .*BatchHardMiner"),
        ("model.student.criterion.loss.num_classes=5", "the training data has 6 classes"),
        ("model.teacher.config.dim=64", None),
        ("train_dataloader.batch_sampler.samples_per_class=7", "whole number of classes"),
        ("model.terms.angle.layers=embeding", "embedding"),
    ],
)
def test_wrong_settings_are_named(train_a_bit, option, message, tmp_path):
    if message is None:  # the checkpoint has other sizes
        config = tmp_path / "teacher.py"
        config.write_text(f'_base_ = "{TEACHER}"\nmodel = dict(dim=64)\n')
        option = f"model.teacher.config={config}"
        message = r"projection.weight +\(128, 256\) +\(64, 256\)"
    code, text, state = train_a_bit(option)
    assert code == 1 and state is None
    assert re.search(f"error: .*{message}", text, re.S), text[-2000:]


def test_training_that_diverges_is_stopped_with_the_images(runs, run_tool, tmp_path):
    state = state_of(runs.run / "epoch_2.pth")
    state["projection.bias"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    code, _, error = run_tool("test", MANY, tmp_path / "nan.pth", "--work-dir", tmp_path)
    assert code == 1
    assert re.search(r"must be finite, but 714 \(id \d+, .*\) of 714 images have NaN", error)


def test_a_student_in_its_teachers_gallery(runs, run_tool, tmp_path):
    """With terms of relations alone the tools warn; with an aligning one they do not."""
    gallery = tmp_path / "gallery.npz"
    code, _, error = run_tool("embed", TEACHER, runs.teacher / "epoch_1.pth", gallery)
    assert code == 0, error
    searched = f"test_evaluator.gallery={gallery}"
    code, text, error = run_tool("check", DISTILLED, "--cfg-options", runs.named, searched)
    assert code == 0, text
    code, _, error = run_tool("test", DISTILLED, runs.run / "epoch_2.pth", "--work-dir", tmp_path,
                              "--cfg-options", searched)  # fmt: skip
    assert code == 1 and "model's have 32 numbers and those of" in error
    config = tmp_path / "aligned.py"
    config.write_text(
        f'_base_ = "{DISTILLED}"\n'
        "model = dict(student=dict(dim=128), terms=dict(cosine=dict("
        'loss=dict(type="kd_core.losses.EmbeddingCosineLoss"), layers="embedding")))\n'
    )
    code, text, error = run_tool("train", config, *short(tmp_path / "aligned", runs.named))
    assert code == 0, error
    code, text, error = run_tool("test", config, tmp_path / "aligned/epoch_1.pth", "--work-dir",
                                 tmp_path, "--cfg-options", searched)  # fmt: skip
    assert code == 0 and re.search(r"^asymmetric/R@1 +\d", text, re.M), error
