"""Report of a data check: errors, warnings and notes."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHOWN = 20
_short = reprlib.Repr()
_short.maxother = _short.maxstring = _short.maxlong = 60


def shown(value: Any) -> str:
    """Show a value of a foreign file, of any size and depth, in a few words."""
    return _short.repr(value)


def printable(text: str) -> str:
    """Escape what UTF-8 cannot hold, such as half of a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass
class DataReport:
    """Findings about one annotation file or split.

    Attributes:
        source: The file that was checked.
        errors: Faults that spoil a training run, each with its place, value and remedy.
        warnings: Oddities that may be intended, with the counts.
        files: Path to bytes of each image that is there.
        short_sides: Shorter side of each image in pixels, inf where unknown, float (N,).
        annotated: Whether each image has a box of a class of the config, bool (N,).
        boxes: How many boxes are of use in training.
        flat: How many boxes without width or height the reader keeps.
        notes: Counts, and peculiarities that are legal or that mmdet handles itself.
    """

    source: str
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict, repr=False)
    short_sides: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)
    annotated: NDArray[np.bool_] | None = field(default=None, repr=False, compare=False)
    boxes: int | None = None
    flat: int = 0

    def error(self, place: str, text: str) -> None:
        """Add a fault.

        Args:
            place: Where in the source it is; empty for the whole source.
            text: Rule, value and remedy.
        """
        self.errors.append(printable(f"{self.source}{', ' if place else ''}{place}: {text}"))

    def warn(self, place: str, text: str) -> None:
        """Add a warning about something that may be wrong.

        Args:
            place: Where in the source it is; empty for the whole source.
            text: What is odd, with the counts, and what to look at.
        """
        self.warnings.append(printable(f"{self.source}{', ' if place else ''}{place}: {text}"))

    def count(self, number: int, text: str) -> None:
        """Add a note unless there is nothing to count.

        Args:
            number: How many.
            text: Of what.
        """
        if number:
            self.notes.append(printable(f"{number} {text}"))


@dataclass(frozen=True)
class ImageEntry:
    """An image as the annotations describe it; width and height may be unknown."""

    place: str
    file: str
    width: int | None
    height: int | None


def merge_reports(reports: Sequence[DataReport]) -> list[DataReport]:
    """Join reports on the same source, such as a file that two loaders read, without repeats.

    Args:
        reports: In order.
    """
    merged: dict[str, DataReport] = {}
    for report in reports:
        one = merged.setdefault(report.source, DataReport(report.source))
        for name in ("errors", "notes", "warnings"):
            both = [*getattr(one, name), *getattr(report, name)]
            setattr(one, name, list(dict.fromkeys(both)))
    return list(merged.values())


def raise_on_errors(reports: DataReport | Sequence[DataReport]) -> None:
    """Stop if a check found errors.

    Args:
        reports: One report or several.

    Raises:
        ValueError: If there is an error; names the first 20 and their number.
    """
    reports = [reports] if isinstance(reports, DataReport) else reports
    errors = [error for report in reports for error in report.errors]
    if not errors:
        return
    lines = [f"the data has {len(errors)} error(s):", *(f"  {error}" for error in errors[:_SHOWN])]
    if len(errors) > _SHOWN:
        lines.append(f"  ... and {len(errors) - _SHOWN} more")
    raise ValueError("\n".join(lines))


def note_boxes(report: DataReport, numbers: Mapping[str, int], classes: Iterable[str]) -> None:
    """Note how many boxes each class has.

    Args:
        report: Receives the note.
        numbers: Class name to number of boxes.
        classes: All class names, in order.
    """
    text = ", ".join(f"{name} {numbers.get(name, 0)}" for name in classes)
    report.notes.append(printable(f"boxes of each class: {text}"))
