"""Costs and the joint score of a comparison's arms, relative to their teacher."""

from __future__ import annotations

import copy
import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd_engine.build import student_config
from kd_engine.compare.arms import TrainedArm
from kd_engine.compare.report import Report
from kd_engine.compare.results import Arm, Results
from kd_engine.cost.latency import Latency, devices_of
from kd_engine.cost.measure import Candidate, ModelCost, measure
from kd_engine.cost.score import References
from kd_engine.cost.table import Arm as CostArm
from kd_engine.cost.table import joint_lines
from kd_engine.entry_points import task_of
from kd_engine.evaluate import evaluate_model, teacher_of
from kd_engine.resume.last_checkpoint import last_whole_checkpoint
from kd_engine.run.prerequisites import require_trained
from kd_engine.weights.source import WeightSource

_TEACHER = "teacher"
_SCORED = ("dataloader", "evaluator")


def measure_costs(arms: Sequence[TrainedArm], results: Results, work_dir: Path) -> dict[str, Any]:
    """Score the teacher on the data that the students are scored on, and measure what all cost.

    The teacher is that of the first distilled arm; a distilled arm with another one is left out.

    Args:
        arms: All arms that are trained.
        results: Their finished runs; the weights are those of the first seed, if they are here.
        work_dir: Folder of the comparison.

    Returns:
        Plain values for :class:`kd_engine.compare.results.Results`.

    Raises:
        ValueError: If no arm has one teacher.
    """
    taught = [one for one in arms if _reference(one)]
    if not taught:
        raise ValueError(
            "a joint score is relative to a teacher, but no config has exactly one. Leave --cost "
            "out."
        )
    first = taught[0]
    config = copy.deepcopy(first.config)
    config.work_dir, config.launcher = str(work_dir / _TEACHER), "none"
    require_trained(config)  # a work dir becomes its checkpoint
    model, source = teacher_of(config)
    candidates = {_TEACHER: Candidate(config, model, source)}
    for one in arms:
        if one.arm.kind != "distilled" or _reference(one) == _reference(first):
            candidates[one.arm.fingerprint] = _candidate(one, results, work_dir)
    measured = measure(candidates, task_of(config), devices_of(()))
    return {
        "scores": evaluate_model(_scored_as_test(config), source, model),
        "models": {name: dataclasses.asdict(cost) for name, cost in measured.models.items()},
        "image": measured.image,
    }


def joint_of(report: Report) -> list[str]:
    """Write the joint scores of a report, as far as costs are in its results.

    Returns:
        Lines of Markdown for each device; none without costs.
    """
    costs = report.results.costs
    if not costs or report.metrics[0] not in costs["scores"] or report.scale.lower_is_better:
        return []
    models = {name: _cost(values) for name, values in costs["models"].items()}
    teacher, score = models[_TEACHER], float(costs["scores"][report.metrics[0]])
    rows = [CostArm(_TEACHER, score, None, teacher)]
    rows += [
        row
        for arm in report.results.arms
        if (row := _row(report, arm, models.get(arm.fingerprint))) is not None
    ]
    alone = next((pair.baseline.name for pair in report.pairs if pair.arm.kind == "distilled"), "")
    named = alone if alone in [row.name for row in rows] else None
    lines = []
    for device in teacher.latency:
        references = References(report.scale.name, score, teacher.on(device), device)
        lines += ["", *joint_lines(rows, references, named, report.scale.percent)]
    return lines[1:]


def _reference(one: TrainedArm) -> tuple[str, str] | None:
    """Return config and checkpoint of the one teacher of a distilled arm."""
    teacher = one.config.model.get(_TEACHER) if one.arm.kind == "distilled" else None
    if not isinstance(teacher, Mapping):
        return None
    return str(teacher.get("config")), str(teacher.get("checkpoint"))


def _candidate(one: TrainedArm, results: Results, work_dir: Path) -> Candidate:
    seed = next(iter(results.runs_of(one.arm)), 0)
    folder = one.folder(work_dir) / f"seed{seed}"
    file = last_whole_checkpoint(folder, one.config) if folder.is_dir() else None
    return Candidate(one.config, student_config(one.config.model), WeightSource.named(file))


def _scored_as_test(config: Config) -> Config:
    """Return the config with its validation in the place of its test."""
    for part in _SCORED:
        config[f"test_{part}"] = config[f"val_{part}"]
    config.test_cfg = dict(type="TestLoop")
    return config


def _cost(values: Mapping[str, Any]) -> ModelCost:
    latency = {device: Latency(**times) for device, times in values["latency"].items()}
    return ModelCost(**{**values, "latency": latency})


def _row(report: Report, arm: Arm, cost: ModelCost | None) -> CostArm | None:
    values = list(report.scores(arm, report.metrics[0]).values())
    if cost is None or not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return CostArm(arm.name, statistics.fmean(values), deviation, cost)
