"""Base install: works with torch, numpy and safetensors, and without other packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = """
import sys

REFUSED = ("mmengine", "mmcv", "mmdet", "torchvision", "PIL", "sklearn", "scipy", "pycocotools",
           "cv2", "matplotlib", "faiss", "timm", "pytorch_metric_learning", "onnx", "onnxruntime",
           "yaml")

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())

import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: (
    None if name.split(".")[0] in REFUSED else find_spec(name, *rest)
)
"""
DISTIL = """
import torch
from torch import nn
import kdkit
from kd_core.losses import AttentionTransferLoss

student, teacher = (nn.Sequential(nn.Conv2d(3, c, 3), nn.Flatten()) for c in (4, 8))
distiller = kdkit.distill(student, teacher, {"at": (AttentionTransferLoss(), "0")})
student(torch.randn(2, 3, 8, 8))
print(list(distiller.losses()))
"""
RECALL = """
import torch
from kd_retrieval import RecallResult, recall_at_k
found = recall_at_k(torch.eye(4)[[0, 0, 1, 1, 2]], [7, 7, 8, 9, 9], ks=(1,))
print(isinstance(found, RecallResult), found.recall)
"""


def run(program, folder):
    """Run a program in an interpreter that has the base install alone."""
    (folder / "sitecustomize.py").write_text(BLOCK)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_the_block_holds(tmp_path):
    assert "No module named 'mmengine'" in run("import mmengine", tmp_path).stderr


def test_a_model_is_distilled(tmp_path):
    assert run(DISTIL, tmp_path).stdout == "['loss_at']\n"


def test_recall_is_measured(tmp_path):
    result = run(RECALL, tmp_path)
    assert result.stdout == "True {1: 0.5}\n", result.stderr


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import kd_engine", "kd_engine needs mmengine, torchvision, PIL, which"),
        ("import kd_engine.config.file", "pip install 'kdkit[onedl]' (or [openmmlab] instead"),
        ("import kd_det", "pip install 'kdkit[onedl]'"),
        ("from kd_cls import Classifier", "pip install 'kdkit[onedl]'"),
        ("from kd_retrieval import Embedder", "pip install 'kdkit[onedl]'"),
        (
            "import torch; from kd_retrieval.recall.knn import nearest\nnearest(torch.eye(2), k=1)",
            "needs faiss, which this installation of kdkit lacks. Run: pip install "
            "'kdkit[retrieval]'",
        ),
    ],
)
def test_what_lacks_an_extra_says_which(program, said, tmp_path):
    last = run(program, tmp_path).stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ") and said in last
