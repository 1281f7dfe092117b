"""Packages that a command or an import must not load, since they take long: one fresh process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONAL = ["faiss", "mmdet", "onnx", "pandas", "pycocotools", "pytorch_metric_learning", "ray",
            "tensorboard", "timm"]  # fmt: skip
SLOW = ["matplotlib", "scipy", "sklearn"]
COMPILERS = ["sympy", "torch._dynamo", "torch.distributed.fsdp", "triton"]
OF_MODELS = ["mmcv", "mmengine.runner", "torchvision"]
FORBIDDEN = {
    "help": ["mmengine", "numpy", "torch", *OF_MODELS, *OPTIONAL, *SLOW],
    "wrong config": ["torch", *OF_MODELS, *OPTIONAL, *SLOW],
    "losses and recall": ["mmengine.dist", *COMPILERS, *OF_MODELS, *OPTIONAL, *SLOW],
    "training": [*OPTIONAL, *SLOW],
}
PROGRAM = """
import json, sys

def report(stage):
    print("stage", json.dumps([stage, sorted(sys.modules)]))

import kdkit, kd_core, kd_retrieval
from kdkit.cli import main
from kdkit.cli.group import kdkit as group
assert all(group.get_command(None, name) for name in group.list_commands(None))
report("help")

def run(*words):
    try:
        main(words)
    except SystemExit as end:
        return end.code

assert run("train", "no_such_config.py") == 1
report("wrong config")

kdkit.Distiller, kd_core.Term, kd_retrieval.recall_at_k
import kd_core.losses
report("losses and recall")

assert run("train", "kdkit::cls/student+digits", "--work-dir", sys.argv[1],
           "--cfg-options", "train_cfg.max_epochs=0") == 0
report("training")
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """The modules that are loaded after each stage of the program."""
    folder = tmp_path_factory.mktemp("light")
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder / "run")], cwd=folder, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    lines = [line.removeprefix("stage ") for line in ended.stdout.splitlines()]
    return dict(json.loads(line) for line in lines if line.startswith("["))


@pytest.mark.parametrize("stage", FORBIDDEN)
def test_what_is_not_needed_is_not_loaded(loaded, stage):
    assert "kd_core" in loaded[stage]
    assert not set(loaded[stage]) & set(FORBIDDEN[stage])


def test_what_trains_is_loaded(loaded):
    assert {"torch", "mmengine.runner", "kd_cls.datasets.digits"} <= set(loaded["training"])
