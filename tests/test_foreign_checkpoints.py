"""Checkpoints as other programs write them start trunks, networks, backbones and teachers alike."""

import argparse
import os
from pathlib import Path

import pytest
import timm
import torch
from torchvision.models import get_model

import kd_det
from kd_cls.networks import TimmNetwork, TorchvisionNetwork
from kd_core.checkpoint.load import CheckpointError
from kd_engine.build import build_trained
from kd_retrieval.trunks import TimmTrunk, TorchvisionTrunk

TINY = dict(channels=(4, 4, 8, 8))
NODES = ["features.3", "features.6", "features.13", "features.17"]
TORCHVISION, TIMM = "mobilenet_v2", "resnet18"


def torchvision_training(weights):
    """As torchvision's references/classification/train.py saves it."""
    settings = argparse.Namespace(lr=0.5, output_dir=".", opt="sgd", distributed=False)
    ema = {f"module.{key}": value for key, value in weights.items()}
    return {"model": weights, "epoch": 9, "args": settings, "optimizer": {"state": {}},
            "model_ema": {"n_averaged": torch.tensor(7), **ema}}  # fmt: skip


def timm_training(weights):
    """As timm's CheckpointSaver saves it."""
    settings = argparse.Namespace(model="resnet18", lr=0.5, data_dir=Path("data"), mean=None)
    return {"epoch": 9, "arch": "resnet18", "state_dict": weights, "version": 2, "args": settings,
            "state_dict_ema": weights, "metric": 71.3}  # fmt: skip


def compiled(weights):
    return {f"_orig_mod.{key}": value for key, value in weights.items()}


def parallel_compiled(weights):
    return {"state_dict": {f"module._orig_mod.{key}": value for key, value in weights.items()}}


def lightning(weights):
    return {"state_dict": {f"model.{key}": value for key, value in weights.items()}, "epoch": 3}


FORMS = [torchvision_training, timm_training, compiled, parallel_compiled, lightning]
READERS = {
    "torchvision trunk": (TORCHVISION, lambda path: TorchvisionTrunk(TORCHVISION, path)),
    "timm trunk": (TIMM, lambda path: TimmTrunk(TIMM, path, options=TINY)),
    "torchvision network": (TORCHVISION, lambda path: TorchvisionNetwork(TORCHVISION, 9, path)),
    "timm network": (TIMM, lambda path: TimmNetwork(TIMM, 9, path, options=TINY)),
    "other classes": (
        TORCHVISION, lambda path: TorchvisionNetwork(TORCHVISION, 5, path, new_head=True)),
    "backbone": (
        "1000", lambda path: kd_det.TorchvisionBackbone(TORCHVISION, NODES, checkpoint=path).body),
}  # fmt: skip


@pytest.fixture(scope="module")
def sources():
    torch.manual_seed(0)
    return {
        TORCHVISION: get_model(TORCHVISION, num_classes=9).state_dict(),
        TIMM: timm.create_model(TIMM, num_classes=9, **TINY).state_dict(),
        "1000": get_model(TORCHVISION).state_dict(),
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_takes_it(sources, tmp_path, form, reader):
    name, build = READERS[reader]
    weights = sources[name]
    torch.save(form(weights), tmp_path / "a.pth")
    built = build(str(tmp_path / "a.pth"))
    shared = [
        key
        for key, value in built.state_dict().items()
        if key in weights and value.shape == weights[key].shape
    ]
    assert len(shared) > 100
    for key in shared:
        assert torch.equal(built.state_dict()[key], weights[key]), key


class Run:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_runs_code(tmp_path, reader):
    settings = argparse.Namespace(hook=Run(str(tmp_path / "trace")))
    torch.save({"model": {}, "args": settings}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth holds .*mkdir"):
        READERS[reader][1](str(tmp_path / "a.pth"))
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "options, number", [(dict(key="ema"), 2.0), ({}, 1.0), (dict(key="ema", prefix="part"), 3.0)]
)
def test_a_teacher_s_reference_names_entry_and_prefix(tmp_path, options, number):
    def filled(value, prefix=""):
        return {f"{prefix}weight": torch.full((2, 3), value), f"{prefix}bias": torch.ones(2)}

    ema = {**filled(2.0), **({} if "prefix" not in options else filled(3.0, "part."))}
    torch.save({"model": filled(1.0), "ema": ema}, tmp_path / "a.pth")
    config = {"type": "torch.nn.Linear", "in_features": 3, "out_features": 2}
    reference = dict(config=config, checkpoint=str(tmp_path / "a.pth"), **options)
    teacher, _ = build_trained(reference)
    assert float(teacher.weight.mean()) == number


def test_a_wrong_entry_is_named_with_the_file(tmp_path):
    torch.save({"model": {"weight": torch.ones(2)}}, tmp_path / "a.pth")
    reference = dict(config={"type": "torch.nn.Identity"}, checkpoint=str(tmp_path / "a.pth"))
    with pytest.raises(CheckpointError, match=r"a\.pth: key must name .*key='model'"):
        build_trained({**reference, "key": "emma"})
    with pytest.raises(ValueError, match="may have allow_partial, key, prefix, precision"):
        build_trained({**reference, "kee": "ema"})
