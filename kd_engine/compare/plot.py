"""Plot of a comparison: the scores of all seeds, and the differences with their intervals."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

from kd_core.checkpoint.atomic import temporary_file
from kd_engine.compare.report import Pair, Report

_COLORS = {"plain": "#d1700f", "longer": "#8a6d3b", "distilled": "#1f6fb4"}
_GAIN, _LOSS, _UNCLEAR = "#2a7f3f", "#b3261e", "#777777"


def draw(report: Report, path: Path) -> None:
    """Draw a comparison.

    Args:
        report: The report.
        path: PNG file to write.
    """
    from matplotlib.figure import Figure  # here, since it takes a quarter of a second

    arms = [arm for arm in report.results.arms if report.runs[arm.name]]
    pairs = [*report.pairs, *report.pairs_in_time]
    height = 1.6 + 0.45 * max(len(arms), len(pairs))
    figure = Figure(figsize=(13, height), layout="constrained")
    scores, differences = figure.subplots(1, 2)
    _draw_scores(scores, report, arms)
    _draw_differences(differences, report, pairs)
    with temporary_file(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _draw_scores(axes: Any, report: Report, arms: list[Any]) -> None:
    """Draw a dot for each seed, and a bar at the mean of each arm."""
    scale = report.scale
    factor = 100 if scale.percent else 1
    for row, arm in enumerate(arms):
        values = [
            factor * value
            for value in report.scores(arm, scale.metric).values()
            if math.isfinite(value)
        ]
        color = _COLORS[arm.kind]
        axes.plot(values, [row] * len(values), "o", ms=6, alpha=0.6, color=color)
        if values:
            mean = statistics.fmean(values)
            axes.plot([mean, mean], [row - 0.3, row + 0.3], lw=3, color=color)
    _label(axes, [arm.name for arm in arms], f"{scale.heading} (dots: seeds, bars: means)")


def _draw_differences(axes: Any, report: Report, pairs: list[Pair]) -> None:
    """Draw the mean difference of each pair with its interval, and a dot for each seed."""
    factor = 100 if report.scale.percent else 1
    for row, pair in enumerate(pairs):
        difference = pair.difference
        colors = {"better": _GAIN, "worse": _LOSS}
        color = colors.get(difference.outcome, _UNCLEAR)
        values = [factor * value for value in difference.values.values()]
        axes.plot(values, [row] * len(values), "o", ms=4, alpha=0.4, color=color)
        if len(values) > 1:
            ends = [factor * end for end in difference.interval]
            axes.plot(ends, [row, row], lw=2, color=color)
        if values:
            axes.plot(factor * difference.mean, row, "D", ms=7, color=color)
    axes.axvline(0, color="black", lw=1)
    names = [f"{pair.arm.name} - {pair.baseline.name}" for pair in pairs]
    _label(axes, names, f"difference, {report.scale.name} (line: 95 % interval)")


def _label(axes: Any, names: list[str], title: str) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
    axes.set_title(title)
    axes.grid(axis="x", alpha=0.3)
