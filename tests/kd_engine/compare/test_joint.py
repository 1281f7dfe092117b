"""Costs and joint score of a comparison: what is measured, and what is written of it."""

import dataclasses
import math
from types import SimpleNamespace

import pytest

from kd_engine.compare import joint
from kd_engine.compare.arms import given_arms, with_students_alone
from kd_engine.compare.joint import joint_of, measure_costs
from kd_engine.compare.report import Report
from kd_engine.compare.results import Arm, Results, Run, read_results, write_results
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
        return SimpleNamespace(models=costs, image="digit", notes=["a note"])

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
    assert len(measured["candidates"]) == 2  # the two arms have the same student
    assert measured["config"].test_dataloader.dataset.split == "val"  # as the students are scored
    assert measured["source"].checkpoint == str(tmp_path / "teacher.pth")
    write_results(tmp_path / "a.json", Results(results.arms, results.runs, costs), {})
    lines = "\n".join(joint_of(Report(read_results(tmp_path / "a.json"))))
    # R = (76.2 - 72) / 8, rho = 4, E = ln 4 / ln 10; gap (76.2 - 74.1) / 5.9
    assert "| kd+digits | 0.53 | 4.00 | 0.60 | 0.32 +- 0.02 |        36% |" in lines
    assert "teacher's top1 80" in lines and "| alone     | 74.10 +- 0.14 |" in lines
    assert "Costs: of one image, digit." in lines and lines.endswith("a note")
    assert "Without cost" not in lines
    assert joint_of(Report(results)) == []


def report_with(costs, arms=("alone", "kd"), values=(74.0, 74.2), lower=None):
    """Return the report of arms with the given costs."""
    made = tuple(Arm(name, name, name, "distilled" if name == "kd" else "plain") for name in arms)
    runs = [Run("", name, seed, {"cls/top1": value})
            for name in arms for seed, value in enumerate(values)]  # fmt: skip
    return Report(Results(made, tuple(runs), costs), lower_is_better=lower)


def costs_of(scores, *names):
    latency = {"cpu": dict(median=1.0, low=1.0, high=1.0, rounds=5)}
    cost = dict(parameters=1, stored_bytes=4, macs=9, latency=latency, weights="w")
    models = {name: cost for name in ("teacher", *names)}
    return {"scores": scores, "models": models, "image": "digit", "notes": []}


def test_why_there_is_no_joint_score_is_said():
    full = costs_of({"cls/top1": 80.0}, "alone", "kd")
    assert joint_of(report_with(full, lower=True)) == [
        "No joint score of top1: less of it is better."
    ]
    assert joint_of(report_with(costs_of({}))) == ["No joint score of top1: the teacher has none."]
    (line,) = joint_of(report_with(costs_of({"cls/top1": 0.0})))
    assert line.startswith("No joint score: the teacher's top1 must be above 0")


def test_arms_without_cost_or_score_are_named():
    lines = joint_of(report_with(costs_of({"cls/top1": 80.0}, "alone")))
    assert "Without cost, or without a score of each seed: kd." in lines
    broken = report_with(costs_of({"cls/top1": 80.0}, "alone", "kd"), values=(74.0, math.nan))
    assert "Without cost, or without a score of each seed: alone, kd." in joint_of(broken)


def test_different_students_are_measured_each(measured, tmp_path):
    (tmp_path / "teacher.pth").write_bytes(b"weights")
    one, other = (given_arms((KD,), {TEACHER: str(tmp_path / "teacher.pth"), "randomness.seed": n})
                  for n in (0, 1))  # fmt: skip
    other[0].config.model.student.network.name = "resnet14"
    other[0] = dataclasses.replace(
        other[0], arm=dataclasses.replace(other[0].arm, name="b", fingerprint="b")
    )
    found = measure_costs([*one, *other], Results(), tmp_path)
    assert len(measured["candidates"]) == 3
    assert set(found["models"]) == {"teacher", one[0].arm.fingerprint, "b"}


def test_an_arm_with_another_teacher_is_left_out(measured, tmp_path):
    (tmp_path / "teacher.pth").write_bytes(b"weights")
    kd, hmat = given_arms((KD, HMAT), {TEACHER: str(tmp_path / "teacher.pth")})
    hmat.config.model.teacher.checkpoint = "other.pth"
    found = measure_costs([kd, hmat], Results(), tmp_path)
    assert list(found["models"]) == ["teacher", kd.arm.fingerprint]
    assert len(measured["candidates"]) == 2


def test_without_a_teacher_there_is_no_joint_score(measured, tmp_path):
    with pytest.raises(ValueError, match="no config has exactly one"):
        measure_costs(given_arms(("kdkit::cls/student+digits",), {}), Results(), tmp_path)


def test_the_gap_closed_does_not_depend_on_the_order_of_the_configs():
    costs = costs_of({"cls/top1": 80.0}, "alone", "kd")
    tables = ["\n".join(joint_of(report_with(costs, arms=arms))) for arms in
              (("alone", "kd"), ("kd", "alone"))]  # fmt: skip
    assert all("gap closed" in table and "|         0% |" in table for table in tables)
