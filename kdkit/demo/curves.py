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

COLORS = {
    "teacher": "#555555",
    "student": "#e9a86a",
    "equal_time": "#c2570c",
    "distilled": "#1f6fb4",
}
Curve = dict[int, float]


def read_curves(folder: Path, terms: Sequence[str]) -> dict[str, Curve]:
    """Read the logs of a run, resumed or not, as means over epochs.

    Args:
        folder: The run's folder.
        terms: Names of the distillation terms.

    Returns:
        ``task`` (the detector's own losses), ``map`` on the validation images, ``minutes`` of
        training up to the epoch's end, and each ``loss_<term>...``; each maps epoch to value.
    """
    curves: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    scores: Curve = {}
    minutes: Curve = {}
    last, passed = 0, 0.0
    prefixes = tuple(f"loss_{term}" for term in terms)
    for entry in _entries(folder):
        if "coco/bbox_mAP" in entry:
            scores[entry["step"]] = entry["coco/bbox_mAP"]
        elif "loss" in entry:
            passed += (entry["step"] - last) * entry.get("time", 0.0) / 60
            last, minutes[entry["epoch"]] = entry["step"], passed
            parts = {k: v for k, v in entry.items() if prefixes and k.startswith(prefixes)}
            for key, value in {"task": entry["loss"] - sum(parts.values()), **parts}.items():
                curves[key][entry["epoch"]].append(value)
    means = {k: {e: sum(v) / len(v) for e, v in c.items()} for k, c in curves.items()}
    return {**means, "map": scores, "minutes": minutes}


def training_minutes(folder: Path) -> float:
    """Return how long the iterations of a run took, without its validations."""
    return max(read_curves(folder, ())["minutes"].values())


def draw_curves(runs: Mapping[str, Run], final: Mapping[str, float], path: Path) -> None:
    """Draw mAP over the time of training, final mAP, task loss and distillation terms.

    Args:
        runs: Name to run.
        final: Name to mAP of the last checkpoint, 0 to 1.
        path: PNG file to write.
    """
    figure = Figure(figsize=(13, 8.4), layout="constrained")
    (score, bars), (task, terms) = figure.subplots(2, 2)
    for name, run in runs.items():
        curves = read_curves(run.folder, run.terms)
        reached = {curves["minutes"][e]: 100 * v for e, v in curves["map"].items()}
        reached[max(curves["minutes"].values())] = 100 * final[name]
        _line(score, reached, run.title, COLORS[name])
        _line(task, curves["task"], run.title, COLORS[name])
        for key in sorted(set(curves) - {"task", "map", "minutes"}):
            _line(terms, curves[key], key.removeprefix("loss_").replace("_", " "), None)
    drawn = bars.bar(
        [run.title.replace(", ", ",\n") for run in runs.values()],
        [100 * final[name] for name in runs],
        color=[COLORS[name] for name in runs],
    )
    bars.bar_label(drawn, fmt="%.1f", fontsize=13)
    bars.set(title="Final mAP", ylabel="COCO mAP")
    bars.margins(y=0.12)  # room for the labels
    for axes, title, across, unit in (
        (score, "Validation mAP", "minutes of training", "COCO mAP"),
        (task, "Task loss (training)", "epoch", "sum of the detector's losses"),
        (terms, "Distillation terms (distilled student)", "epoch", "weighted loss"),
    ):
        axes.set(title=title, xlabel=across, ylabel=unit)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    terms.set_yscale("log")
    for axes in (score, bars, task):
        axes.set_ylim(bottom=0)
    with temporary_file(path) as file:
        figure.savefig(file, format="png", dpi=100)


def _line(axes: Any, curve: Mapping[Any, float], label: str, color: str | None) -> None:
    epochs = sorted(curve)
    axes.plot(epochs, [curve[e] for e in epochs], marker="o", ms=3, label=label, color=color)


def _entries(run: Path) -> Iterable[dict[str, Any]]:
    """Give the entries in order, each step once: a resumed run repeats what was lost."""
    latest = {("coco/bbox_mAP" in one, one["step"]): one for one in log_entries(run, [])}
    return latest.values()
