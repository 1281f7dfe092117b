"""Entry points: which package serves a config; a package that is none of ours adds a task."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from kd_engine import entry_points
from kd_engine.entry_points import package_of, package_of_scope, task_of
from kd_engine.task import Task

ROOT = Path(__file__).parents[2]


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
    monkeypatch.setattr(entry_points, "distributions", lambda: [])
    with pytest.raises(ValueError, match=r"kdkit itself are missing.* pip install --no-deps -e \."):
        package_of(Config(dict(custom_imports=dict(imports=["kd_cls"]))))


def test_old_metadata_on_the_path_hides_nothing(monkeypatch, tmp_path):
    old = tmp_path / "kdkit.egg-info"
    old.mkdir()
    (old / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: kdkit\nVersion: 0.1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert package_of_scope("mmdet") == "kd_det"


def test_a_package_of_its_own_trains_by_the_command(tmp_path):
    """The module and the config of docs/your_task.md, as an installed package has them."""
    page = (ROOT / "docs/your_task.md").read_text()
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        (tmp_path / re.match(r"# (\w+\.py)", block)[1]).write_text(block)
    (entry,) = re.findall(r"```toml\n\[project.entry-points.\"(.*?)\"\]\n(.*?)```", page, re.DOTALL)
    info = tmp_path / "my_task-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-task\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{entry[0]}]\n{entry[1].replace(chr(34), '')}")
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, ROOT / "tools/train.py", "my_config.py", "--work-dir", "run"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = done.stdout + done.stderr
    assert "4 images are few" in told and "loss_at" in told and "loss_l1" in told
    assert (tmp_path / "run" / "epoch_1.pth").is_file()
