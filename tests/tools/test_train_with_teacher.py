"""kdkit train --with-teacher, ended in its first phase and begun again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kd_engine.work_dir.lock import hold_work_dir, last_run_of

ROOT = Path(__file__).parents[2]
EPOCHS = 8

TEACHER = """
_base_ = {base!r}
train_cfg = dict(max_epochs={epochs}, val_interval=99)
train_dataloader = dict(batch_size=16, num_batch_per_epoch=10)
log_level = "WARNING"
"""
STUDENT = """
_base_ = {base!r}
model = dict(teacher=dict(config={teacher!r}, checkpoint={checkpoint!r}))
train_cfg = dict(max_epochs=1, val_interval=99)
train_dataloader = dict(batch_size=16, num_batch_per_epoch=2)
log_level = "WARNING"
"""


@pytest.fixture
def configs(tmp_path):
    """A student whose teacher is missing."""
    digits, weights = ROOT / "configs/cls", tmp_path / "teacher" / f"epoch_{EPOCHS}.pth"
    teacher, student = tmp_path / "teacher.py", tmp_path / "student.py"
    base = str(digits / "teacher.py")
    teacher.write_text(TEACHER.format(base=base, epochs=EPOCHS))
    base = str(digits / "kd.py")
    student.write_text(STUDENT.format(base=base, teacher=str(teacher), checkpoint=str(weights)))
    return student, weights


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def first_steps(folder):
    files = sorted(folder.glob("*/vis_data/scalars.json"))
    return [json.loads(file.read_text().splitlines()[0])["step"] for file in files]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_the_child_ends_with_its_parent_and_a_restart_continues(configs, run_tool, tmp_path):
    student, weights = configs
    work_dir = ["--work-dir", str(tmp_path / "student")]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with (tmp_path / "log.txt").open("w") as log:
        parent = subprocess.Popen(
            [sys.executable, str(ROOT / "tools/train.py"), student, "--with-teacher", *work_dir],
            env={**os.environ, "PYTHONPATH": path}, stdout=log, stderr=log,
        )  # fmt: skip
    while not list(weights.parent.glob("epoch_*.pth")):
        assert parent.poll() is None, (tmp_path / "log.txt").read_text()
        time.sleep(0.002)
    child = last_run_of(weights.parent)["pid"]
    assert child != parent.pid and is_running(child)
    with pytest.raises(BlockingIOError, match=f"in use by process {parent.pid}"):
        hold_work_dir(tmp_path / "student").__enter__()
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(30) == 143 and not is_running(child)
    assert not weights.exists()

    code, _, error = run_tool("train", student, "--with-teacher", *work_dir)
    assert code == 0, error
    assert weights.exists() and (tmp_path / "student" / "epoch_1.pth").exists()
    begun, continued = first_steps(weights.parent)
    assert begun <= 10 < continued
