"""Trainings side by side: how many at a time, which GPU, and their end."""

import os
import signal
import subprocess
import sys
import time

import pytest

from kd_engine.compare import jobs
from kd_engine.compare.jobs import Job, gpus, last_lines, run_side_by_side

NOTE = """
import os, sys, time
name, folder, code, wait = sys.argv[1:]
with open(f"{folder}/{name}.began", "w") as file:
    file.write(f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {os.environ['OMP_NUM_THREADS']}")
while wait and not os.path.exists(f"{folder}/{wait}.began"):
    time.sleep(0.02)
print("said by", name)
sys.exit(int(code))
"""


def job(folder, name, code=0, wait=""):
    arguments = ("-c", NOTE, name, str(folder), str(code), wait)
    return Job(name, arguments, folder / f"{name}.log")


def test_they_run_at_the_same_time_and_failures_do_not_stop_the_others(tmp_path, capsys):
    """Each of the first two waits until the other has begun."""
    made = [job(tmp_path, "a", wait="b"), job(tmp_path, "b", code=3, wait="a"), job(tmp_path, "c")]
    ended = {}
    run_side_by_side(made, 2, lambda one, code, where: ended.update({one.title: code}))
    assert ended == {"a": 0, "b": 3, "c": 0}
    assert (tmp_path / "a.log").read_text() == "said by a\n" == last_lines(made[0].log) + "\n"
    assert f"3 of 3: c, log {tmp_path / 'c.log'}" in capsys.readouterr().out
    assert last_lines(tmp_path / "none.log") == ""


def test_each_has_a_gpu_and_its_share_of_the_processors(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "gpus", lambda: ["3", "5"])
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    made = [job(tmp_path, "a", wait="b"), job(tmp_path, "b", wait="a")]
    run_side_by_side(made, 2, lambda *ended: None)
    assert [(tmp_path / f"{name}.began").read_text() for name in "ab"] == ["3 4", "5 4"]


def test_the_gpus_are_those_that_are_visible(monkeypatch):
    monkeypatch.setattr(jobs.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(jobs.torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 7")
    assert gpus() == ["2", "7"]
    monkeypatch.setattr(jobs.torch.cuda, "is_available", lambda: False)
    assert gpus() == []


def test_an_error_ends_all_of_them(tmp_path):
    def fail(*ended):
        raise RuntimeError("stop")

    began = time.monotonic()
    with pytest.raises(RuntimeError, match="stop"):
        run_side_by_side([job(tmp_path, "a"), job(tmp_path, "b", wait="never")], 2, fail)
    assert time.monotonic() - began < 60


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_request_to_end_ends_all_of_them(tmp_path):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from tests.kd_engine.compare.test_jobs import job, run_side_by_side\n"
        "folder = Path(sys.argv[2])\n"
        "run_side_by_side([job(folder, 'a', wait='never')], 1, print)"
    )
    root = os.path.dirname(os.path.dirname(jobs.__file__)) + "/.."
    process = subprocess.Popen([sys.executable, "-c", program, root, str(tmp_path)])
    while not (tmp_path / "a.began").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(tmp_path) not in listed
