"""A training started in an empty folder, with configs that lie elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = """
_base_ = "kdkit::cls/data/digits.py"
train_cfg = dict(max_epochs=1, val_interval=1)
schedules = dict(teacher=dict(train_cfg=train_cfg))
trained = dict(
    teacher=dict(
        config="kdkit::cls/teacher+small.py", checkpoint="work_dirs/cls/teacher+small/epoch_1.pth"
    )
)
"""


@pytest.mark.slow
def test_the_teacher_and_the_dataset_are_found(tmp_path):
    """The teacher is one of ours on a dataset's file that is named relative to itself."""
    method = ROOT / "configs" / "cls" / "kd.py"
    mine, here = tmp_path / "mine", tmp_path / "here"
    mine.mkdir()
    here.mkdir()
    (mine / "small.py").write_text(SMALL)
    result = subprocess.run(
        [sys.executable, "-m", "kdkit", "train", f"{method}+../mine/small.py", "--with-teacher"],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert "loss_kd" in result.stdout
    found = {path.relative_to(here).as_posix() for path in here.rglob("*.pth")}
    assert found == {f"work_dirs/cls/{name}+small/epoch_1.pth" for name in ("kd", "teacher")}
    assert [path.name for path in mine.iterdir() if path.suffix] == ["small.py"]
