"""kdkit train on retrieval: settings that work on a CPU, and those that are refused."""

import re

import pytest
import torch

from kd_core.checkpoint.load import read_checkpoint
from kd_engine.weights.checkpoint import ALLOWED

from .retrieval_run import DISTILLED, MANY, TEACHER, short, state_of


@pytest.fixture
def train_a_bit(retrieval, run_tool, tmp_path):
    """Train for one epoch of three batches; returns code, error and the checkpoint's state."""

    def train(*options, config=DISTILLED, flags=()):
        code, text, error = run_tool(
            "train", config, *flags, *short(tmp_path / "bit", *retrieval.named, *options)
        )
        file = tmp_path / "bit/epoch_1.pth"
        return code, text + error, state_of(file) if file.exists() else None

    return train


def test_averaged_weights(retrieval, run_tool, train_a_bit, tmp_path):
    hook = "custom_hooks=[dict(type='EMAHook', momentum=0.5)]"
    config = tmp_path / "averaged.py"
    config.write_text(f'_base_ = "{DISTILLED}"\n{hook}\n')
    code, text, state = train_a_bit(config=config)
    assert code == 0, text
    saved = read_checkpoint(tmp_path / "bit/epoch_1.pth", ALLOWED)
    last = {key.removeprefix("module."): v for key, v in saved["ema_state_dict"].items()}
    key = "trunk.conv1.weight"
    assert not torch.equal(state[key], last[key])
    code, text, error = run_tool("export", config, tmp_path / "bit/epoch_1.pth",
                                 tmp_path / "s.pth")  # fmt: skip
    assert code == 0, error
    assert torch.equal(state_of(tmp_path / "s.pth")[key], state[key])


def test_accumulated_gradients(train_a_bit):
    code, text, state = train_a_bit("optim_wrapper.accumulative_counts=3")
    assert code == 0, text
    code, text, other = train_a_bit(flags=["--overwrite"])
    assert code == 0, text
    key = "projection.weight"
    assert not torch.equal(state[key], other[key])  # one step instead of three
    assert all(torch.isfinite(value.float()).all() for value in state.values())


def test_bfloat16_on_a_cpu_is_a_setting_of_the_embedder(train_a_bit):
    code, text, state = train_a_bit("model.student.training.precision=bfloat16")
    assert code == 0, text
    assert state["trunk.conv1.weight"].dtype == torch.float32
    code, text, other = train_a_bit(flags=["--overwrite"])
    assert code == 0, text
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
        message = r"projection.weight +- +\(64, 256\)"
    code, text, state = train_a_bit(option)
    assert code == 1 and state is None
    assert re.search(f"error: .*{message}", text, re.S), text[-2000:]


def test_training_that_diverges_is_stopped_with_the_images(retrieval, run_tool, tmp_path):
    state = state_of(retrieval.run / "epoch_2.pth")
    state["projection.bias"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    code, _, error = run_tool("test", MANY, tmp_path / "nan.pth", "--work-dir", tmp_path)
    assert code == 1 and "nan.pth projection.bias has 1 NaN of" in error
    state["projection.bias"].fill_(0)
    state["projection.weight"].fill_(3e38)  # finite, but what it makes is not
    torch.save(state, tmp_path / "large.pth")
    code, _, error = run_tool("test", MANY, tmp_path / "large.pth", "--work-dir", tmp_path)
    assert code == 1
    assert re.search(r"must be finite, but 714 \(id \d+, .*\) of 714 images have NaN", error)
