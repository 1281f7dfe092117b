"""kdkit compare: which trainings it starts, and the table of their scores."""

import json

import pytest

from kd_engine.run import child
from kdkit.cli.command import PROGRAM

from .classification_run import ALONE, SHORT, TEACHER


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Stand in for the trainings; returns their arguments."""
    calls = []

    def run(arguments):
        assert tuple(arguments[: len(PROGRAM) + 1]) == (*PROGRAM, "train")
        config, _, folder, *options = arguments[len(PROGRAM) + 1 :]
        calls.append((config, folder, options))
        seed = float(folder[-1]) if "seed" in folder else 0.0
        logs = tmp_path / folder / "20260101_000000/vis_data"
        logs.mkdir(parents=True)
        score = {"cls/top1": seed + len(config), "step": 1}
        (logs / "scalars.json").write_text(json.dumps(score))
        return 3 if config == "broken.py" else 0

    monkeypatch.setattr(child, "run_child", run)
    monkeypatch.chdir(tmp_path)
    return calls


def test_each_config_is_trained_in_its_usual_work_dir(trained, run_tool):
    code, text, error = run_tool("compare", "a.py", "sub/bb.py")
    assert code == 0, error
    assert trained == [("a.py", "work_dirs/a", ["--resume"]),
                       ("sub/bb.py", "work_dirs/sub/bb", ["--resume"])]  # fmt: skip
    assert "2 of 2: sub/bb.py, in work_dirs/sub/bb" in text
    assert text.splitlines()[-2:] == [
        "| a.py      | 1     | 4.000    |", "| sub/bb.py | 1     | 9.000    |"
    ]  # fmt: skip


def test_each_seed_is_a_run(trained, run_tool, tmp_path):
    code, text, error = run_tool("compare", "a.py", "--seeds", "1", "2", "1", "--with-teacher",
                                 "--work-dir", "w", "--cfg-options", "x=1")  # fmt: skip
    assert code == 0, error
    options = ["--resume", "--with-teacher", "--cfg-options", "x=1"]
    assert trained == [
        ("a.py", f"w/a/seed{seed}", [*options, f"randomness.seed={seed}"]) for seed in (1, 2)
    ]
    assert text.splitlines()[-1] == "| a.py | 2     | 5.500 +- 0.707 |"


def test_a_training_that_fails_ends_it_with_its_exit_code(trained, run_tool):
    code, _, _ = run_tool("compare", "broken.py", "a.py")
    assert code == 3 and len(trained) == 1


def test_two_configs_need_two_work_dirs(trained, run_tool):
    code, _, error = run_tool("compare", "a.py", "./a.py")
    assert code == 1 and "work dir of its own" in error and not trained


@pytest.mark.slow
def test_finished_runs_are_not_trained_again(run_tool, tmp_path):
    command = ["compare", ALONE, TEACHER, "--work-dir", tmp_path, "--cfg-options", *SHORT,
               "train_cfg.max_epochs=1"]  # fmt: skip
    code, first, error = run_tool(*command)
    assert code == 0, error
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pth")}
    assert len(written) == 2
    code, second, error = run_tool(*command)
    assert code == 0, error
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pth")} == written
    assert "cls/top1" in second and first.splitlines()[-2:] == second.splitlines()[-2:]
