"""Checks of all boxes of an annotation file together: dropped boxes, odd conventions, copies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kd_det.annotations.box_table import BoxTable
from kd_det.checks.report import DataReport

_LOST = 0.5  # share of a class's boxes: more than these is no accident of single annotations
_MARKED = 0.9  # share of boxes that people mark on purpose (VOC marks 45 % of the chairs)
_FEW = 10  # boxes of a class, below which a share says little
_ALL = 0.99  # share of boxes that another convention must explain
_CROSSING = 0.25  # share of boxes beyond the border, where another convention explains all
_MOST_CROSSING = 0.5  # the same where none does
_SLACK = 2.0  # pixels beyond the border that rounding explains
_SHOWN = 5  # places in a message
_COPIES = 0.01  # share of boxes that are copies, above which a person must look


def check_boxes(report: DataReport, table: BoxTable, classes: Sequence[str]) -> None:
    """Check the boxes of a file as a whole.

    More than half of the boxes of a class lost by their size or area is an error, as is a share
    of 90 % marked as crowd, ignored or difficult; classes of fewer than 10 boxes give a warning
    unless the whole file is like that. Boxes that look like another convention are a warning.
    If most boxes occur twice, that is an error: no detector can then find more than half.

    Args:
        report: Receives the findings.
        table: The boxes; those of no class of the config are ignored.
        classes: Class names of the config.
    """
    used = table.labels >= 0
    if not used.any():
        return
    if _check_inverted(report, table, used):
        return  # other counts would say the same again
    _check_lost(report, table, used, classes)
    _check_convention(report, table, used)
    _check_copies(report, table, used)


def _check_inverted(report: DataReport, table: BoxTable, used: NDArray[np.bool_]) -> bool:
    """Name boxes whose second corner comes before the first.

    mmdet's VOC reader keeps them, and the logarithm of a negative width makes the loss NaN; its
    COCO reader drops them, but scores count them as missed. Returns whether it is an error.
    """
    found = np.flatnonzero(used & (table.boxes[:, 2:] < 0).any(axis=1))
    if not len(found):
        return False
    some = "; ".join(f"{table.places[i]}: {table.given[i].tolist()}" for i in found[:_SHOWN])
    if table.corners:
        wrong = len(found) / used.sum() > _LOST / 2
        hint = " Are they x, y, width, height? Convert them." if wrong else " Exchange the two."
        report.error(
            "boxes",
            f"xmin must be less than xmax and ymin less than ymax, but in {len(found)} of "
            f"{int(used.sum())} boxes they are not ({some}).{hint}",
        )
    else:
        report.warn(
            "boxes",
            f"{len(found)} of {int(used.sum())} boxes have a negative width or height ({some}): "
            "mmdet drops them in training, and scores count them as missed. Correct them.",
        )
    return table.corners


def _check_lost(
    report: DataReport, table: BoxTable, used: NDArray[np.bool_], classes: Sequence[str]
) -> None:
    marks = table.dropped["marks"]
    faulty = table.dropped["size"] | table.dropped["area"]
    lost = faulty | marks
    bad = _exceeds(faulty, used) | _exceeds(lost, used, _MARKED)
    if bad:
        report.error("boxes", _lost_text(table, used, "the file"))
        return
    numbers, losses = (
        np.bincount(table.labels[chosen], minlength=len(classes)) for chosen in (used, used & lost)
    )
    for label in np.flatnonzero(losses > _LOST * numbers):
        of_class = table.labels == label
        text = _lost_text(table, of_class, repr(classes[label]))
        if _exceeds(faulty, of_class) or _exceeds(lost, of_class, _MARKED):
            few = of_class.sum() < _FEW
            (report.warn if few else report.error)("boxes", text)
        else:
            report.warn("boxes", text)


def _exceeds(chosen: NDArray[np.bool_], among: NDArray[np.bool_], share: float = _LOST) -> bool:
    return bool(chosen[among].mean() > share)


def _lost_text(table: BoxTable, among: NDArray[np.bool_], owner: str) -> str:
    lost = np.logical_or.reduce(list(table.dropped.values()))
    reasons = {
        "below one pixel wide or high": table.dropped["size"],
        "without area": table.dropped["area"] & ~table.dropped["size"],
        "marked as crowd, ignore or difficult": table.dropped["marks"],
    }
    counts = [f"{n} {text}" for text, mask in reasons.items() if (n := int(mask[among].sum()))]
    text = (
        f"most boxes of {owner} must be of use, but {int(lost[among].sum())} of "
        f"{int(among.sum())} are not: {', '.join(counts)}."
    )
    small = among & table.dropped["size"]
    if small.any() and _exceeds(_are_shares(table.given), small):
        return (
            f"{text} Their numbers lie between 0 and 1: are they shares of the image's width and "
            "height? Multiply them by these."
        )
    return f"{text} Correct the file, or remove what is not wanted."


def _are_shares(given: NDArray[np.float64]) -> NDArray[np.bool_]:
    low, high = given.min(axis=1), given.max(axis=1)
    return np.asarray((low >= 0) & (high <= 1))


def _check_convention(report: DataReport, table: BoxTable, used: NDArray[np.bool_]) -> None:
    known = used & np.isfinite(table.extents).all(axis=1) & ~table.dropped["size"]
    if not known.any():
        return
    first, second, extents = table.given[known, :2], table.given[known, 2:], table.extents[known]
    inside = _inside(table.boxes[known, :2], table.boxes[known, 2:], extents)
    crossing = int((~inside).sum())
    share = crossing / len(inside)
    text = f"{crossing} of {len(inside)} boxes pass the border of their images"
    if not table.corners and share > _CROSSING:
        readings = {
            "x1, y1, x2, y2": _inside(first, second - first, extents),
            "the center x, center y, width, height": _inside(first - second / 2, second, extents),
        }
        for reading, fits in readings.items():
            if fits.mean() >= _ALL:
                report.warn(
                    "boxes",
                    f"{text} as x, y, width, height, and {int(fits.sum())} lie inside when read as "
                    f"{reading}: are they {reading}? Convert them.",
                )
                return
    if share > _MOST_CROSSING:
        report.warn(
            "boxes",
            f"{text}: are they of images of another size, or are they x1, y1, x2, y2 where x, y, "
            "width, height must be, or the other way round? Look at some of them.",
        )


def _inside(
    low: NDArray[np.float64], size: NDArray[np.float64], extents: NDArray[np.float64]
) -> NDArray[np.bool_]:
    within = (low >= -_SLACK) & (size > 0) & (low + size <= extents + _SLACK)
    return np.asarray(within.all(axis=1))


def _check_copies(report: DataReport, table: BoxTable, used: NDArray[np.bool_]) -> None:
    """Compare image, class and the four numbers; marked boxes are not copies of others."""
    kept = used & ~table.dropped["marks"]
    rows = np.column_stack([table.images, table.labels, table.given])[kept].astype(np.float64)
    if not len(rows):
        return
    counts = _times(rows)
    copies, repeated = int(len(rows) - len(counts)), float((counts > 1).mean())
    text = f"{copies} of {len(rows)} boxes are exact copies (image, class and box are the same)"
    if repeated > _LOST:
        report.error(
            "boxes",
            f"a box must be there once, but {text}: a detector that finds each object once would "
            f"miss that many. Remove the copies.",
        )
    elif copies > _COPIES * len(rows):
        report.warn("boxes", f"{text}; each counts in training and as missed in scores.")
    else:
        report.count(copies, f"of {len(rows)} boxes are exact copies of others")


def _times(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count how often each distinct row occurs; single numbers are sorted faster than rows."""
    keys = (rows * np.random.default_rng(0).normal(size=rows.shape[1])).sum(axis=1)
    _, places, times = np.unique(keys, return_inverse=True, return_counts=True)
    alone = times[places] == 1
    _, repeats = np.unique(rows[~alone], axis=0, return_counts=True)
    return np.concatenate([np.ones(alone.sum(), dtype=np.int64), repeats.astype(np.int64)])
