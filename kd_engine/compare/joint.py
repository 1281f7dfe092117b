"""Costs and the joint score of a comparison's arms, relative to their teacher."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd_engine.build import student_config
from kd_engine.compare.arms import TrainedArm
from kd_engine.compare.report import Report
from kd_engine.compare.results import Results
from kd_engine.cost.latency import devices_of
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


def require_teacher(arms: Sequence[TrainedArm]) -> TrainedArm:
    """Return the first distilled arm with one teacher.

    Raises:
        ValueError: If there is none.
    """
    for one in arms:
        if _reference(one):
            return one
    raise ValueError(
        "a joint score is relative to a teacher, but no config has exactly one. Leave --cost out."
    )


def measure_costs(arms: Sequence[TrainedArm], results: Results, work_dir: Path) -> dict[str, Any]:
    """Score the teacher on the data that the students are scored on, and measure what all cost.

    The teacher is that of the first distilled arm; a distilled arm with another one is left out.
    Arms with the same student share one measurement, so that they do not differ by its noise.

    Args:
        arms: All arms that are trained.
        results: Their finished runs; the weights are those of the first seed, if they are here.
        work_dir: Folder of the comparison.

    Returns:
        Plain values for :class:`kd_engine.compare.results.Results`.

    Raises:
        ValueError: If no arm has one teacher, or it is not a network.
    """
    first = require_teacher(arms)
    config = copy.deepcopy(first.config)
    config.work_dir, config.launcher = str(work_dir / _TEACHER), "none"
    require_trained(config)  # a work dir becomes its checkpoint
    model, source = teacher_of(config)
    candidates = {_TEACHER: Candidate(config, model, source)}
    students: dict[str, str] = {}  # of each arm that is measured, the name of its student
    for one in arms:
        if one.arm.kind != "distilled" or _reference(one) == _reference(first):
            name = f"student {_digest(one)}"
            students[one.arm.fingerprint] = name
            if name not in candidates or candidates[name].source is None:
                candidates[name] = _candidate(one, results, work_dir)
    measured = measure(candidates, task_of(config), devices_of(()))
    if _TEACHER not in measured.models:
        raise ValueError(f"a joint score needs a network as teacher. {' '.join(measured.notes)}")
    names = {_TEACHER: _TEACHER, **students}
    return {
        "scores": evaluate_model(_scored_as_test(config), source, model),
        "models": {key: dataclasses.asdict(measured.models[name]) for key, name in names.items()},
        "image": measured.image,
        "notes": list(measured.notes),
    }


def joint_of(report: Report) -> list[str]:
    """Write the joint scores of a report, as far as costs are in its results.

    Returns:
        Lines of Markdown for each device, or why there is no joint score; none without costs.
    """
    costs = report.results.costs
    if not costs:
        return []
    scale, score = report.scale, costs["scores"].get(report.metrics[0])
    if score is None or scale.lower_is_better:
        why = "the teacher has none" if score is None else "less of it is better"
        return [f"No joint score of {scale.name}: {why}."]
    models = {key: ModelCost.of(values) for key, values in costs["models"].items()}
    teacher = CostArm(_TEACHER, score, None, models[_TEACHER])
    rows = [teacher, *_rows(report, models)]
    lines = []
    try:
        for device in teacher.cost.latency:
            references = References(scale.name, score, teacher.cost.on(device), device)
            lines += ["", *joint_lines(rows, references, scale.heading, scale.value)]
    except ValueError as error:  # a teacher that finds nothing
        return [f"No joint score: {error}"]
    known = {row.name for row in rows}
    if left := [arm.name for arm in report.results.arms if arm.name not in known]:
        lines.append(f"Without cost, or without a score of each seed: {', '.join(left)}.")
    return [*lines[1:], f"Costs: of one image, {costs['image']}.", *costs["notes"]]


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


def _digest(one: TrainedArm) -> str:
    """Return a digest of an arm's student, without what only its training needs."""
    plain = student_config(one.config.model)
    plain.pop("criterion", None)
    return hashlib.sha256(repr(plain).encode()).hexdigest()[:8]


def _rows(report: Report, models: Mapping[str, ModelCost]) -> list[CostArm]:
    """Return the arms whose costs are known and whose scores are finite."""
    scores = {}
    for arm in report.results.arms:
        values = list(report.scores(arm, report.metrics[0]).values())
        if arm.fingerprint in models and values and all(map(math.isfinite, values)):
            scores[arm.name] = values
    baselines = {pair.arm.name: pair.baseline for pair in report.pairs}
    found = []
    for arm in report.results.arms:
        if arm.name not in scores:
            continue
        values, baseline = scores[arm.name], baselines.get(arm.name)
        deviation = statistics.stdev(values) if len(values) > 1 else None
        plain = baseline is not None and baseline.kind == "plain" and baseline.name in scores
        alone = baseline.name if baseline is not None and plain else None
        mean, cost = statistics.fmean(values), models[arm.fingerprint]
        found.append(CostArm(arm.name, mean, deviation, cost, alone))
    return found
