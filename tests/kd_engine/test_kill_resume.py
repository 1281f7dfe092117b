"""A training run that is killed again and again ends bit for bit where an undisturbed one does.

Augmentations and dropout included: the toy run draws both.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from kd_core.checkpoint.load import read_checkpoint
from kd_engine.resume.last_checkpoint import last_whole_checkpoint
from kd_engine.weights.checkpoint import ALLOWED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the runs are forked children"),
]

ITERATIONS = 20
KILLS = 8


class Runs:
    """Starts training runs in a program that has imported everything already."""

    def __init__(self, log):
        self.log = log
        root = Path(__file__).parents[2]
        self.program = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("toy_run.py")],
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
        )

    def start(self, work_dir, iterations=ITERATIONS):
        self.program.stdin.write(json.dumps([str(work_dir), iterations]) + "\n")
        self.program.stdin.flush()
        return self.answer()

    def answer(self):
        for line in self.program.stdout:
            if re.fullmatch(r"-?\d+\n", line):  # The rest is what mmengine prints.
                return int(line)
        raise AssertionError(self.log.read_text())

    def finish(self, work_dir, iterations=ITERATIONS):
        self.start(work_dir, iterations)
        assert self.answer() == 0, self.log.read_text()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    runs = Runs(tmp_path_factory.mktemp("log") / "stderr.txt")
    yield runs
    runs.program.kill()
    runs.program.communicate()


@pytest.fixture(scope="module")
def undisturbed(runs, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("undisturbed")
    runs.finish(work_dir)
    return read_checkpoint(work_dir / f"iter_{ITERATIONS}.pth", ALLOWED)


def checkpoints(work_dir):
    return sorted(work_dir.glob("iter_*.pth"), key=lambda path: int(path.stem[5:]))


def halves(work_dir):
    return list(work_dir.glob(".iter_*.tmp"))


def number(work_dir):
    """Iteration of the newest checkpoint."""
    return max((int(path.stem[5:]) for path in checkpoints(work_dir)), default=0)


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.0005)


def check_all_whole(work_dir):
    for path in checkpoints(work_dir):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
        assert read_checkpoint(path, ALLOWED)["meta"]["iter"] == int(path.stem[5:])


def check_equal(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            check_equal(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for pair in zip(found, expected, strict=True):
            check_equal(*pair)
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
    else:
        assert found == expected


def check_same_end(work_dir, undisturbed):
    end = read_checkpoint(work_dir / f"iter_{ITERATIONS}.pth", ALLOWED)
    for key in ("state_dict", "ema_state_dict", "optimizer", "param_schedulers"):
        check_equal(end[key], undisturbed[key])


def test_killed_at_any_moment_it_resumes_from_a_whole_checkpoint(runs, undisturbed, tmp_path):
    moments = random.Random(0)
    reached, half_written = 0, 0
    for kill in range(KILLS):
        child = runs.start(tmp_path)
        if kill % 2:  # while it writes the checkpoint after its first
            wait_for(lambda reached=reached: number(tmp_path) > reached)
            wait_for(lambda: any(path.stat().st_size for path in halves(tmp_path)))
        else:  # anywhere between its start and its first checkpoints
            ahead = moments.choice((0, 0, 1))
            wait_for(lambda goal=reached + ahead: number(tmp_path) >= goal)
            time.sleep(moments.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        assert runs.answer() == -signal.SIGKILL, runs.log.read_text()
        half_written += bool(halves(tmp_path))
        check_all_whole(tmp_path)
        found = last_whole_checkpoint(tmp_path)
        assert found == (str(checkpoints(tmp_path)[-1]) if found else None)
        assert number(tmp_path) >= reached + kill % 2
        assert not halves(tmp_path)
        reached = number(tmp_path)
    assert reached < ITERATIONS and half_written  # The kills fell where they should.
    runs.finish(tmp_path)
    check_same_end(tmp_path, undisturbed)


def test_a_cut_newest_checkpoint_falls_back_to_the_one_before(runs, undisturbed, tmp_path):
    runs.finish(tmp_path, 5)
    before, newest = checkpoints(tmp_path)
    assert (before.name, newest.name) == ("iter_4.pth", "iter_5.pth")
    newest.write_bytes(newest.read_bytes()[:200_000])
    assert last_whole_checkpoint(tmp_path) == str(before)
    runs.finish(tmp_path)
    check_same_end(tmp_path, undisturbed)
