"""Costs and joint score of a comparison: what is measured, and what is written of it."""

from types import SimpleNamespace

import pytest

from kd_engine.compare import joint
from kd_engine.compare.arms import given_arms, with_students_alone
from kd_engine.compare.joint import joint_of, measure_costs
from kd_engine.compare.report import Report
from kd_engine.compare.results import Results, Run, read_results, write_results
from kd_engine.cost.latency import Latency
from kd_engine.cost.measure import ModelCost

KD, HMAT = "kdkit::cls/kd+digits", "kdkit::cls/hmat+digits"
TEACHER = "model.teacher.checkpoint"


@pytest.fixture
def measured(monkeypatch):
    """Stand in for the measuring: a teacher four times as costly as its students."""
    asked = {}

    def measure(candidates, task, devices):
        asked.update(candidates=candidates)
        costs = {}
        for name in candidates:
            times = 4 if name == "teacher" else 1
            latency = Latency(0.01 * times, 0.009 * times, 0.011 * times, 50)
            costs[name] = ModelCost(10**6, 4 * 10**6 * times, 10**9 * times, {"cpu": latency}, "w")
        return SimpleNamespace(models=costs, image="digit")

    def evaluate(config, source, model):
        asked.update(config=config, source=source)
        return {"cls/top1": 80.0}

    monkeypatch.setattr(joint, "measure", measure)
    monkeypatch.setattr(joint, "evaluate_model", evaluate)
    return asked


def test_costs_and_the_joint_score_are_written_and_kept(measured, tmp_path):
    (tmp_path / "teacher.pth").write_bytes(b"weights")
    options = {TEACHER: str(tmp_path / "teacher.pth"), "val_dataloader.dataset.split": "val"}
    made = with_students_alone(given_arms((KD,), options), [])
    scores = {"alone": (74.0, 74.2), "kd+digits": (76.0, 76.4)}
    runs = [Run("", one.arm.fingerprint, seed, {"cls/top1": scores[one.arm.name][seed]})
            for one in made for seed in (0, 1)]  # fmt: skip
    results = Results(tuple(one.arm for one in made), tuple(runs))
    costs = measure_costs(made, results, tmp_path / "w")
    assert list(measured["candidates"]) == ["teacher", *(one.arm.fingerprint for one in made)]
    assert measured["config"].test_dataloader.dataset.split == "val"  # as the students are scored
    assert measured["source"].checkpoint == str(tmp_path / "teacher.pth")
    write_results(tmp_path / "a.json", Results(results.arms, results.runs, costs), {})
    lines = "\n".join(joint_of(Report(read_results(tmp_path / "a.json"))))
    # R = (76.2 - 72) / 8, rho = 4, E = ln 4 / ln 10; gap (76.2 - 74.1) / 5.9
    assert "| kd+digits | 0.53 | 4.00 | 0.60 | 0.32 +- 0.02 |        36% |" in lines
    assert "teacher's top1 80" in lines and "| alone     | 74.100 +- 0.141 |" in lines
    assert joint_of(Report(read_results(tmp_path / "a.json"), lower_is_better=True)) == []
    assert joint_of(Report(results)) == []


def test_an_arm_with_another_teacher_is_left_out(measured, tmp_path):
    (tmp_path / "teacher.pth").write_bytes(b"weights")
    kd, hmat = given_arms((KD, HMAT), {TEACHER: str(tmp_path / "teacher.pth")})
    hmat.config.model.teacher.checkpoint = "other.pth"
    measure_costs([kd, hmat], Results(), tmp_path)
    assert list(measured["candidates"]) == ["teacher", kd.arm.fingerprint]


def test_without_a_teacher_there_is_no_joint_score(measured, tmp_path):
    with pytest.raises(ValueError, match="no config has exactly one"):
        measure_costs(given_arms(("kdkit::cls/student+digits",), {}), Results(), tmp_path)
