"""Entry points: which package serves a config; a package that is none of ours adds a task."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from kd_engine import entry_points
from kd_engine.entry_points import package_of, package_of_scope, task_of
from kd_engine.task import Task

ROOT = Path(__file__).parents[2]

PACKAGE = '''
"""A task of one's own: lines fitted to points."""
import torch
from mmengine.model import BaseModel
from torch import nn

from kd_engine.task import Task

class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, inputs, targets=None, data_samples=None, mode="tensor"):
        found = self.line(inputs)
        return dict(loss_line=(found - targets).square().mean()) if mode == "loss" else found

class Points(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, number):
        value = torch.tensor([float(number)])
        return dict(inputs=value, targets=2 * value)

class Lines(Task):
    def check_data(self, config, images=False):
        return ["warning: the points are few"]

TASK = Lines()
'''
CONFIG = """
custom_imports = dict(imports=["toy_lines"])
default_scope = "mmengine"
model = dict(type="toy_lines.Line")
train_dataloader = dict(batch_size=2, num_workers=0, collate_fn=dict(type="default_collate"),
                        dataset=dict(type="toy_lines.Points"),
                        sampler=dict(type="DefaultSampler", shuffle=False))
train_cfg = dict(type="IterBasedTrainLoop", max_iters=1)
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1))
default_hooks = dict(logger=dict(type="LoggerHook", interval=1),
                     checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=1))
"""


@pytest.mark.parametrize(
    ("config", "package"),
    [
        (dict(), "kd_det"),
        (dict(default_scope="mmdet"), "kd_det"),
        (dict(custom_imports=dict(imports=["kd_cls"])), "kd_cls"),
        (dict(custom_imports=dict(imports="kd_retrieval.datasets")), "kd_retrieval"),
        (dict(custom_imports=dict(imports=["torch", "kd_cls"]), default_scope="x"), "kd_cls"),
    ],
)
def test_the_package_that_a_config_imports_serves_it(config, package):
    assert package_of(Config(config)) == package
    task = task_of(Config(config))
    assert isinstance(task, Task) and type(task).__module__ == f"{package}.task"


def test_a_scope_has_a_package():
    assert package_of_scope("mmdet") == "kd_det"
    assert package_of_scope("mmpretrain") is None


def test_a_config_of_no_task_is_named():
    config = Config(dict(default_scope="mmpose", custom_imports=dict(imports=["mmpose"])))
    with pytest.raises(ValueError, match=r"kd_cls, kd_det, kd_retrieval, .*'mmpose'.*\]\.$"):
        package_of(config)


def test_metadata_older_than_the_code_is_named(monkeypatch):
    monkeypatch.setattr(entry_points, "entry_points", lambda group: [])
    with pytest.raises(ValueError, match=r"kdkit itself are missing.* pip install --no-deps -e \."):
        package_of(Config(dict(custom_imports=dict(imports=["kd_cls"]))))


def test_a_package_of_its_own_trains_by_the_command(tmp_path):
    (tmp_path / "toy_lines.py").write_text(PACKAGE)
    (tmp_path / "line.py").write_text(CONFIG)
    info = tmp_path / "toy_lines-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-lines\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kdkit.tasks]\ntoy_lines = toy_lines:TASK\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "tools/train.py", str(tmp_path / "line.py"), "--work-dir",
         str(tmp_path / "run")],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the points are few" in done.stdout + done.stderr
    assert "loss_line" in done.stdout + done.stderr
    assert (tmp_path / "run" / "iter_1.pth").is_file()
