"""Results of finished runs: one row for each method, mean and deviation over its seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from kd_core.table import markdown_table
from kd_engine.doctor.scores import last_saved, read_log


def last_metrics(run: Path) -> tuple[dict[str, float], list[str]]:
    """Return the metrics of a run's last saved epoch.

    Args:
        run: Work dir of a run.

    Returns:
        Metric to value, and notes: that the last saved epoch has no score, so that these are of
        another one, or that a line of a log is damaged.

    Raises:
        ValueError: If the run has no validation in its logs.
    """
    log = read_log(run)
    if not log.scores:
        damage = " ".join(["", *log.notes])
        raise ValueError(
            f"{run} has no validation in */vis_data/scalars.json.{damage} Name the work dir of a "
            "run that has been evaluated; kdkit train CONFIG --resume evaluates a finished one."
        )
    notes, score = [*log.notes], log.scores[-1]
    if saved := last_saved(run):
        kind, number = saved
        own = log.score_of(number)
        if own is None and score.step:
            notes.append(
                f"{run}: {kind} {number} is saved but has no score; what is shown is of {kind} "
                f"{score.step}. kdkit train CONFIG --resume evaluates it if it is due."
            )
        score = own or score
    return dict(score.metrics), notes


def summary_table(folders: Iterable[Path], metrics: Sequence[str]) -> str:
    """Make a Markdown table of runs.

    Args:
        folders: Folders that hold runs named ``seed<N>``, or are a run themselves.
        metrics: Columns, such as ``coco/bbox_mAP``.

    Returns:
        The table; a cell is "mean +- sample standard deviation" where there are several seeds.
        Below it are the notes of :func:`last_metrics`.

    Raises:
        ValueError: If a run lacks a metric or has no validation.
    """
    groups = [(folder.name, sorted(folder.glob("seed*")) or [folder]) for folder in folders]
    measured = [(name, runs, [last_metrics(run) for run in runs]) for name, runs in groups]
    rows: list[tuple[str, ...]] = []
    for name, runs, of_group in measured:
        found = [values for values, _ in of_group]
        rows.append((name, str(len(runs)), *(_cell(runs, found, metric) for metric in metrics)))
    notes = [note for _, _, of_group in measured for _, of_run in of_group for note in of_run]
    lines = markdown_table(("run", "seeds", *metrics), rows)
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _cell(runs: Sequence[Path], found: Sequence[dict[str, float]], metric: str) -> str:
    for run, metrics in zip(runs, found, strict=True):
        if metric not in metrics:
            raise ValueError(f"{run} has no {metric!r}. It has: {', '.join(sorted(metrics))}.")
    values = [metrics[metric] for metrics in found]
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} +- {statistics.stdev(values):.3f}"
