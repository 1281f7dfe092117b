"""The programs of examples/ run as they stand, and are short."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .blocked import BLOCK

ROOT = Path(__file__).parents[1]
EXAMPLES = {path.stem: path for path in (ROOT / "examples").glob("*.py")}


@pytest.fixture
def run(tmp_path):
    """Run an example for a few steps, in an empty folder."""

    def run(name, steps):
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "OMP_NUM_THREADS": "1"
        }  # fmt: skip
        found = subprocess.run(
            [sys.executable, str(EXAMPLES[name]), "--steps", str(steps)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert found.returncode == 0, found.stderr
        return found.stdout

    return run


def shares(text):
    """Return the percentages of a text."""
    return [float(found) for found in re.findall(r"([\d.]+)%", text)]


def test_there_is_one_for_each_task_and_one_without_any():
    assert set(EXAMPLES) == {"plain_loop", "detector", "embedder", "classifier"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_is_short(name):
    assert 30 <= len(EXAMPLES[name].read_text(encoding="utf-8").splitlines()) <= 60


def test_the_plain_loop_needs_no_openmmlab_package(run, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    printed = run("plain_loop", 100)
    teacher, alone, distilled = shares(printed)
    assert min(teacher, alone, distilled) > 40  # a guess would be right in 10 %
    assert "no teacher" in printed


def test_the_detector_trains_with_the_terms_losses(run, tmp_path):
    printed = run("detector", 2)
    steps = re.findall(r"step (\d): (.*)", printed)
    assert [step for step, _ in steps] == ["1", "2", "1", "2"]
    assert ["loss_imitation" in losses for _, losses in steps] == [False, False, True, True]
    assert "neck[0:4]" in printed and "mmdet's own FasterRCNN" in printed
    assert not list(tmp_path.iterdir())


def test_the_embedder_is_scored_on_unseen_classes(run):
    found = shares(run("embedder", 2))
    assert len(found) == 3 and all(25 < share <= 100 for share in found)


def test_the_classifier_is_trained_by_a_runner(run, tmp_path):
    scores = re.findall(r"'cls/top1': ([\d.]+)", run("classifier", 2))
    assert len(scores) == 3 and all(0 < float(score) <= 100 for score in scores)
    assert not list(tmp_path.iterdir())
