"""kdkit compare: which trainings it starts, what it keeps, and its verdict."""

import json
from pathlib import Path

import pytest
import torch

import kdkit
from kd_engine.config.load import load_run_config
from kd_engine.cost.measure import candidates_of
from kd_engine.run import child
from kd_engine.work_dir.lock import hold_work_dir
from kdkit.cli.command import PROGRAM

from .classification_run import ALONE, SHORT
from .classification_run import TEACHER as TEACHER_CONFIG

STUDENT, KD, HMAT = (f"kdkit::cls/{name}+digits" for name in ("student", "kd", "hmat"))
TEACHER = Path("work_dirs/cls/teacher+digits/epoch_6.pth")


class Trainings:
    """Stand-in for the trainings: scores by arm and seed, and the runs that were asked for."""

    def __init__(self):
        self.calls = []
        self.gain, self.longer_gain = 2.0, 1.0
        self.failing = ()

    def __call__(self, arguments):
        assert tuple(arguments[: len(PROGRAM) + 1]) == (*PROGRAM, "train")
        config, _, folder, *options = arguments[len(PROGRAM) + 1 :]
        assert options == ["--resume", "--cfg-options", f"randomness.seed={folder[-1]}"]
        arm, seed = Path(folder).parent.name.rpartition("-")[0], int(folder[-1])
        self.calls.append((arm, seed))
        if (arm, seed) in self.failing:
            return 3
        distilled = "DistilledClassifier" in Path(config).read_text()
        gain = self.gain if distilled else self.longer_gain if "epochs" in arm else 0
        logs = Path(folder, "20260101_000000/vis_data")
        logs.mkdir(parents=True)
        lines = [{"loss": 1.0, "iter": 2, "time": 5.0 if distilled else 3.0, "step": 2},
                 {"cls/top1": 70 + seed + gain * (1 + seed / 100), "step": 1}]  # fmt: skip
        (logs / "scalars.json").write_text("\n".join(map(json.dumps, lines)))
        return 0


@pytest.fixture
def trained(monkeypatch, tmp_path):
    made = Trainings()
    monkeypatch.setattr(child, "run_child", made)
    monkeypatch.chdir(tmp_path)
    TEACHER.parent.mkdir(parents=True)
    TEACHER.write_bytes(b"weights")
    return made


def results():
    (file,) = Path().glob("work_dirs/compare/**/results.json")
    return json.loads(file.read_text())


def test_a_distilled_config_is_compared_with_its_student_alone(trained, run_tool):
    code, text, error = run_tool("compare", "--seeds", "3", KD)
    assert code == 0, error
    assert trained.calls == [(arm, seed) for seed in (0, 1, 2) for arm in ("alone", "kd+digits")]
    assert "3 of 6: alone, seed 1, in work_dirs/compare/cls/kd+digits/alone-" in text
    assert "finished: kd+digits, seed 2: cls/top1 74.04\n" in text
    assert "kd+digits helps: +2.02 top1, 95 % interval +1.97 to +2.07, better with 3 of 3" in text
    found = results()
    assert [arm["name"] for arm in found["arms"]] == ["alone", "kd+digits"]
    run = found["runs"][-1]
    assert (run["seed"], run["metrics"], run["seconds"]) == (2, {"cls/top1": 74.04}, 10.0)
    assert run["version"]["kdkit"] and run["machine"]["system"] and len(run["trained"]) == 1
    assert Path("work_dirs/compare/cls/kd+digits/results.md").read_text() in text
    assert "test_dataloader reads the data that gave these scores" in text
    (plot,) = Path().glob("work_dirs/compare/cls/kd+digits/results.png")
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_plain_config_that_is_given_is_the_baseline(trained, run_tool):
    code, text, error = run_tool("compare", STUDENT, KD, "--seed-list", "1", "4", "1")
    assert code == 0, error
    assert trained.calls == [(arm, seed) for seed in (1, 4)
                             for arm in ("student+digits", "kd+digits")]  # fmt: skip
    assert "Differences are to student+digits" in text


def test_finished_runs_are_not_trained_again_and_others_join(trained, run_tool):
    assert run_tool("compare", KD, "--seeds", "2")[0] == 0
    trained.calls.clear()
    assert run_tool("compare", KD, "--seeds", "2")[0] == 0
    assert trained.calls == []
    code, text, _ = run_tool("compare", KD, HMAT, "--seeds", "3", "--only-given")
    assert code == 0
    hmat = [("hmat+digits", seed) for seed in range(3)]
    assert trained.calls == [*hmat[:2], ("kd+digits", 2), hmat[2]]
    assert "| alone       |     2 |" in text and "| hmat+digits |     3 |" in text
    assert (
        run_tool("compare", KD, "--seeds", "2", "--cfg-options", "train_cfg.max_epochs=7")[0] == 0
    )
    assert trained.calls[-1] == ("kd+digits", 1) and len(trained.calls) == 8


def test_equal_time_is_measured_once(trained, run_tool):
    """A distilled iteration takes 5 seconds, one of the student alone 3: 10 epochs for 6."""
    command = ["compare", KD, "--equal-time", "--seeds"]
    code, text, error = run_tool(*command, "2")
    assert code == 0, error
    assert trained.calls[-2:] == [("alone__10_epochs", seed) for seed in (0, 1)]
    assert "| alone, 10 epochs |     2 |" in text
    assert "More epochs do not replace it: kd+digits against alone, 10 epochs: +1.00 top1" in text
    (config,) = Path().glob("work_dirs/compare/cls/kd+digits/alone__*/config.py")
    assert "max_epochs=10" in config.read_text() and "end=10" in config.read_text()
    trained.calls.clear()
    code, text, _ = run_tool(*command, "4")
    assert code == 0 and len(trained.calls) == 6
    assert trained.calls[-1] == ("alone__10_epochs", 3) and "another budget" not in text


def test_equal_time_may_be_a_ratio(trained, run_tool):
    code, text, _ = run_tool("compare", KD, "--equal-time", "2.5")
    assert code == 0 and trained.calls[-1] == ("alone__15_epochs", 0)
    assert run_tool("compare", KD, "--equal-time", "1.0")[0] == 0
    assert len(trained.calls) == 3
    assert run_tool("compare", KD, "--equal-time", "x")[0] == 2


def test_a_results_file_stands_for_runs_of_other_machines(trained, run_tool, tmp_path, monkeypatch):
    kept = tmp_path / "kept/digits.json"
    command = ["compare", KD, "--results", kept, "--seeds"]
    assert run_tool(*command, "2")[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    trained.calls.clear()
    assert run_tool(*command, "2")[0] == 0 and not trained.calls  # not even the teacher is needed
    code, _, error = run_tool(*command, "3")
    assert code == 1 and "teacher is trained before this, but its checkpoint" in error
    assert not trained.calls
    code, text, _ = run_tool("compare", "--from", kept)
    assert code == 0 and "kd+digits helps" in text and "| kd+digits |     2 |" in text


def test_what_another_comparison_adds_to_the_file_stays(trained, run_tool, monkeypatch):
    """Two comparisons in two folders share a results file."""

    def both(arguments):
        if not trained.calls:
            trained.calls.append("other")
            assert run_tool("compare", HMAT, "--only-given", "--results", "a.json")[0] == 0
        return trained(arguments)

    monkeypatch.setattr(child, "run_child", both)
    assert run_tool("compare", KD, "--results", "a.json")[0] == 0
    found = json.loads(Path("a.json").read_text())
    assert sorted(run["config"] for run in found["runs"]) == [HMAT, KD, KD]
    assert [arm["name"] for arm in found["arms"]] == ["alone", "kd+digits", "hmat+digits"]


def test_a_seed_that_fails_is_named_and_the_others_compared(trained, run_tool):
    trained.failing = [("kd+digits", 1)]
    code, text, _ = run_tool("compare", KD, "--seeds", "3")
    assert code == 1 and len(trained.calls) == 6
    assert "failed: kd+digits, seed 1 ended with exit code 3" in text
    assert "better with 2 of 2 seeds" in text
    trained.calls.clear()
    trained.failing = ()
    assert run_tool("compare", KD, "--seeds", "3")[0] == 0
    assert trained.calls == [("kd+digits", 1)]


def test_if_all_fail_it_says_so(trained, run_tool):
    trained.failing = [("student+digits", 0)]
    code, _, error = run_tool("compare", STUDENT)
    assert code == 1 and "no run has finished. student+digits, seed 0 ended with exit" in error


def test_a_killed_comparison_carries_on(trained, run_tool, monkeypatch):
    def killed(arguments):
        if len(trained.calls) == 2:
            raise KeyboardInterrupt
        return trained(arguments)

    monkeypatch.setattr(child, "run_child", killed)
    code, _, error = run_tool("compare", KD, "--seeds", "2")
    assert code == 130 and "the same command carries on" in error
    monkeypatch.setattr(child, "run_child", trained)
    code, text, _ = run_tool("compare", KD, "--seeds", "2")
    assert code == 0 and len(trained.calls) == 4 and "better with 2 of 2" in text


def test_two_comparisons_in_one_folder_are_refused(trained, run_tool):
    with hold_work_dir("w") as lock:
        lock.sign("other.py")
        code, _, error = run_tool("compare", KD, "--work-dir", "w")
    assert code == 1 and "w is in use by process" in error and not trained.calls


def test_a_notebook_calls_a_function(trained):
    report = kdkit.compare(KD, seeds=[3, 5], equal_time=2)
    assert trained.calls == [
        *((arm, seed) for seed in (3, 5) for arm in ("alone", "kd+digits")),
        *(("alone__12_epochs", seed) for seed in (3, 5)),
    ]
    assert report.verdict().startswith("kd+digits helps: +2.08 top1")
    assert report._repr_markdown_() == report.files[1].read_text().rstrip()
    kdkit.compare([KD], seeds=1)
    assert trained.calls[6:] == [("alone", 0), ("kd+digits", 0)]
    with pytest.raises(ValueError, match=r"but it has configs \[\] and seeds \[0\]"):
        kdkit.compare([], seeds=1)


@pytest.mark.slow
def test_real_trainings_side_by_side(run_tool, tmp_path):
    command = ["compare", ALONE, TEACHER_CONFIG, "--jobs", "2", "--work-dir", tmp_path,
               "--cfg-options", *SHORT, "train_cfg.max_epochs=1"]  # fmt: skip
    code, text, error = run_tool(*command)
    assert code == 0, error
    assert "teacher+digits with one seed:" in text and "cls/top1" in text
    content = json.loads((tmp_path / "results.json").read_text())
    assert all(run["seconds"] > 0 for run in content["runs"])
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pth")}
    assert len(written) == 2
    (tmp_path / "results.json").unlink()
    code, again, error = run_tool(*command)
    assert code == 0, error  # their folders hold finished runs
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pth")} == written
    assert text.split("\n\n")[1] == again.split("\n\n")[1]  # the table


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((KD, f"{KD}"), 1, "each config must be compared once"),
        ((STUDENT, "kdkit::cls/student"), 1, "are the same"),
        ((STUDENT, "kdkit::cls/student+fashion_mnist"), 1, "must be scored on the same data"),
        ((KD, "--seeds", "3", "1", "2"), 2, "For seeds themselves: --seed-list 3 1 2"),
        ((KD, "--seeds", "0", "1", "2"), 2, "For seeds themselves: --seed-list 0 1 2"),
        ((KD, "--seeds", "0"), 2, "at least 1, but it is 0. For seeds themselves: --seed-list 0"),
        ((KD, "--seeds", "2", "--seed-list", "7"), 2, "exclude each other"),
        ((KD, "--jobs", "2", "--ray", "auto"), 2, "--jobs and --ray exclude each other"),
        ((), 2, "give configs to compare, or --from"),
        ((KD, "--from", "a.json"), 2, "and not both"),
        (("--from", "a.json"), 1, "there is no results file a.json"),
        ((KD, "--cfg-options", "val_evaluator=None"), 1, "lacks val_evaluator"),
    ],
)
def test_bad_input_is_refused(arguments, code, said, trained, run_tool):
    found, _, error = run_tool("compare", *arguments)
    assert found == code and said in " ".join(error.split()), error
    assert not trained.calls


def test_an_unknown_metric_names_the_nearest(trained, run_tool):
    code, _, error = run_tool("compare", KD, "--metrics", "top1")
    assert code == 1 and "'top1' is not. Nearest names: cls/top1." in " ".join(error.split())
    assert run_tool("compare", KD, "--metrics", "cls/top1", "--lower-is-better")[0] == 0
    assert len(trained.calls) == 2


def test_joint_scores_of_accuracy_and_compression(trained, run_tool):
    TEACHER.unlink()
    built = candidates_of(load_run_config(KD))["teacher"].build()
    torch.save(built.state_dict(), TEACHER)
    code, text, error = run_tool("compare", KD, "--seeds", "2", "--equal-time", "2", "--cost")
    assert code == 0, error
    rows = [line.split() for line in text.splitlines() if line.startswith("| teacher ")]
    assert len(rows) == 2 and "272,474" in rows[0] and rows[1][3:9:2] == ["1.00", "1.00", "0.00"]
    assert text.count("| kd+digits ") == 3 and text.count("| alone, 12 epochs ") == 3
    assert "S is relative to: teacher's top1 " in text and "tau 0.1" in text
    (file,) = Path().glob("work_dirs/compare/**/results.json")
    code, again, error = run_tool("compare", "--from", file)
    assert code == 0, error
    assert again.strip() in text  # the costs are kept


def test_a_joint_score_needs_a_teacher(trained, run_tool):
    code, _, error = run_tool("compare", STUDENT, "--cost")
    assert code == 1 and "no config has exactly one" in error and not trained.calls
