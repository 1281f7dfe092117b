"""Results of finished runs: one row for each method, mean and deviation over its seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path


def last_metrics(run: Path) -> dict[str, float]:
    """Return what the last validation of a run measured.

    Args:
        run: Work dir of a run.

    Returns:
        Metric to value.

    Raises:
        ValueError: If the run has no validation in its logs.
    """
    metrics: dict[str, float] = {}
    for file in sorted(run.glob("*/vis_data/scalars.json")):
        for line in file.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if any("/" in key for key in entry):  # mmengine writes metrics as <evaluator>/<metric>
                metrics = {key: value for key, value in entry.items() if "/" in key}
    if not metrics:
        raise ValueError(
            f"{run} has no validation in */vis_data/scalars.json. Name the work dir of a run that "
            "has been evaluated."
        )
    return metrics


def summary_table(folders: Iterable[Path], metrics: Sequence[str]) -> str:
    """Make a Markdown table of runs.

    Args:
        folders: Folders that hold runs named ``seed<N>``, or are a run themselves.
        metrics: Columns, such as ``coco/bbox_mAP``.

    Returns:
        The table; a cell is "mean +- sample standard deviation" where there are several seeds.

    Raises:
        ValueError: If a run lacks a metric or has no validation.
    """
    lines = ["| run | seeds | " + " | ".join(metrics) + " |", "|---" * (len(metrics) + 2) + "|"]
    for folder in folders:
        runs = sorted(folder.glob("seed*")) or [folder]
        found = [last_metrics(run) for run in runs]
        cells = [_cell(runs, found, metric) for metric in metrics]
        lines.append(f"| {folder.name} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(runs: Sequence[Path], found: Sequence[dict[str, float]], metric: str) -> str:
    for run, metrics in zip(runs, found, strict=True):
        if metric not in metrics:
            raise ValueError(f"{run} has no {metric!r}. It has: {', '.join(sorted(metrics))}.")
    values = [metrics[metric] for metrics in found]
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} +- {statistics.stdev(values):.3f}"
