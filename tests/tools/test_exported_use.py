"""Commands that kdkit export prints at its end work as printed, in another folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def use(run_tool, tmp_path, monkeypatch):
    """Export a student, and run the printed command in a shell; returns the two outputs."""
    monkeypatch.chdir(tmp_path)

    def run(config, weights, out="student.pth", *options):
        code, text, error = run_tool("export", config, weights, out, *options)
        assert code == 0, error
        command = text.splitlines()[-1]
        python = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        package = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=500,
            env={**os.environ, "PATH": python, "PYTHONPATH": package},
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        return text, done.stdout

    return run


def test_a_detector_predicts_on_a_picture(place, use, tmp_path):
    picture = next((place.data / "JPEGImages").glob("val_*.jpg"))
    (tmp_path / "IMAGE.jpg").write_bytes(picture.read_bytes())
    text, _ = use(place.distilled, place.weights, "a student.pth")
    assert "DetInferencer('a student.py', 'a student.pth')" in text
    assert (tmp_path / "found/vis/IMAGE.jpg").stat().st_size > 0
    assert (tmp_path / "found/preds/IMAGE.json").is_file()


def test_an_embedder_embeds_its_test_data(retrieval, use, tmp_path):
    from .retrieval_run import MANY

    text, said = use(MANY, retrieval.run / "epoch_2.pth")
    assert "it needs kdkit" in text and "714 embeddings of the test data" in said
    assert (tmp_path / "embeddings.npz").is_file()


def test_a_classifier_is_scored_on_its_test_data(classification, use):
    from .classification_run import MANY

    _, said = use(MANY, classification.run / "epoch_2.pth")
    assert "cls/top1" in said


def test_weights_that_mmdet_does_not_read_come_without_a_command(place, run_tool, tmp_path):
    out = tmp_path / "student.safetensors"
    code, text, error = run_tool("export", place.distilled, place.weights, out)
    assert code == 0 and "DetInferencer reads .pth files only" in text.splitlines()[-1], error
