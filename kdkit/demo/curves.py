"""Training curves of the demo, drawn from the logs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from kd_core.checkpoint.atomic import temporary_file
from kd_engine.doctor.scores import log_entries
from kdkit.demo.runs import Run

COLORS = {"teacher": "#555555", "student": "#d1700f", "distilled": "#1f6fb4"}
Curve = dict[int, float]


def read_curves(folder: Path, terms: Sequence[str]) -> dict[str, Curve]:
    """Read the logs of a run, resumed or not, as means over epochs.

    Args:
        folder: The run's folder.
        terms: Names of the distillation terms.

    Returns:
        ``task`` (the detector's own losses), ``map`` on the validation images, and each
        ``loss_<term>...``; each maps epoch to value.
    """
    curves: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    scores: Curve = {}
    prefixes = tuple(f"loss_{term}" for term in terms)
    for entry in _entries(folder):
        if "coco/bbox_mAP" in entry:
            scores[entry["step"]] = entry["coco/bbox_mAP"]
        elif "loss" in entry:
            parts = {k: v for k, v in entry.items() if prefixes and k.startswith(prefixes)}
            for key, value in {"task": entry["loss"] - sum(parts.values()), **parts}.items():
                curves[key][entry["epoch"]].append(value)
    means = {k: {e: sum(v) / len(v) for e, v in c.items()} for k, c in curves.items()}
    return {**means, "map": scores}


def draw_curves(runs: Mapping[str, Run], final: Mapping[str, float], path: Path) -> None:
    """Draw task loss, distillation terms and validation mAP over the epochs.

    Args:
        runs: Name to run.
        final: Name to mAP of the last checkpoint, 0 to 1.
        path: PNG file to write.
    """
    figure = Figure(figsize=(15, 4.6), layout="constrained")
    task, terms, score = figure.subplots(1, 3)
    for name, run in runs.items():
        curves = read_curves(run.folder, run.terms)
        _line(task, curves.get("task", {}), run.title, COLORS[name])
        _line(score, {**curves["map"], run.epochs: final[name]}, run.title, COLORS[name])
        for key in sorted(set(curves) - {"task", "map"}):
            _line(terms, curves[key], key.removeprefix("loss_").replace("_", " "), None)
    terms.set_yscale("log")
    for axes, title, unit in (
        (task, "Task loss (training)", "sum of the detector's losses"),
        (terms, "Distillation terms (distilled student)", "weighted loss"),
        (score, "Validation mAP", "COCO mAP"),
    ):
        axes.set(title=title, xlabel="epoch", ylabel=unit)
        axes.set_xlim(0, max(run.epochs for run in runs.values()) + 0.5)
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False)
    task.set_ylim(bottom=0)
    score.set_ylim(bottom=0)
    with temporary_file(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _line(axes: Any, curve: Curve, label: str, color: str | None) -> None:
    epochs = sorted(curve)
    axes.plot(epochs, [curve[e] for e in epochs], marker="o", ms=3, label=label, color=color)


def _entries(run: Path) -> Iterable[dict[str, Any]]:
    """Give the entries in order, each step once: a resumed run repeats what was lost."""
    latest = {("coco/bbox_mAP" in one, one["step"]): one for one in log_entries(run, [])}
    return latest.values()
