"""Scores in a run's logs: its validations, and damaged lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Score:
    """One validation.

    Attributes:
        step: Epoch or iteration that was validated; 0 where an iteration-based run does not say.
        metrics: Metric to value.
    """

    step: int
    metrics: Mapping[str, float]


@dataclass
class RunLog:
    """The logs of a run, over all its starts.

    Attributes:
        scores: Its validations, oldest first.
        notes: Lines that could not be read, one sentence each.
        ends_with_score: Whether nothing was trained after the last validation.
    """

    scores: list[Score] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ends_with_score: bool = False

    def score_of(self, step: int) -> Score | None:
        """Return the last validation of an epoch or iteration, if there is one."""
        return next((one for one in reversed(self.scores) if one.step == step), None)


def read_log(run: Path) -> RunLog:
    """Read ``*/vis_data/scalars.json`` of a run.

    A line that was cut off by a kill is skipped, with a note that names file and line.

    Args:
        run: Its work dir.
    """
    log = RunLog()
    for entry in log_entries(run, log.notes):
        # mmengine writes metrics as <evaluator>/<metric>
        metrics = {key: value for key, value in entry.items() if "/" in key}
        if metrics:
            log.scores.append(Score(_count(entry.get("step")), metrics))
        log.ends_with_score = bool(metrics)
    return log


def log_entries(run: Path, notes: list[str]) -> Iterator[dict[str, Any]]:
    """Give the entries of a run's logs, over all its starts, oldest first.

    Args:
        run: Its work dir.
        notes: Receives a sentence for each line that cannot be read.
    """
    for file in sorted(run.glob("*/vis_data/scalars.json")):
        yield from _entries(file, notes)


def last_saved(run: Path) -> tuple[str, int] | None:
    """Return ("epoch", 12), or ("iteration", 9000) if there are no epochs, by the files' names."""
    names = [path.name for path in run.iterdir()] if run.is_dir() else []
    for kind, pattern in (("epoch", r"epoch_(\d+)\.pth"), ("iteration", r"iter_(\d+)\.pth")):
        found = [re.fullmatch(pattern, name) for name in names]
        if numbers := [int(match[1]) for match in found if match]:
            return kind, max(numbers)
    return None


def _entries(file: Path, notes: list[str]) -> Iterator[dict[str, Any]]:
    lines = file.read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if isinstance(entry, dict):
            yield entry
        else:
            notes.append(f"{file}, line {number}, is cut off or damaged and left out.")


def _count(value: Any) -> int:
    return value if type(value) is int else 0
