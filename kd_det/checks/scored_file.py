"""Check that a metric can read and score the annotation file that it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kd_det.annotations.coco_file import load_coco
from kd_det.annotations.coco_reader import needs_new_ids, read_coco
from kd_det.checks.masks import check_masks
from kd_det.checks.report import DataReport

_LVIS = {"LVISMetric", "LVISFixedAPMetric"}  # files of another layout
# Those that read through a library of their own; each takes an id below 1 for "no match".
_OTHER_LIBRARIES = {"FasterCocoMetric", *_LVIS}


def check_scored_file(report: DataReport, metric: Mapping[str, Any]) -> None:
    """Check the fields of the file that a COCO metric scores.

    Args:
        report: Receives the errors.
        metric: Config of a metric with ``ann_file``. Metrics that do not score COCO boxes, and
            missing files, are not checked here.
    """
    names = _names_of(metric.get("type"))
    file = Path(metric["ann_file"])
    if not file.is_file():
        return
    if "CocoMetric" in names and not names & {"CocoVideoMetric", *_LVIS}:
        content = load_coco(report, file)
        if content is not None and "segm" in (metric.get("metric") or ()):
            check_masks(report, content, [one["name"] for one in content["categories"]])
    if names & _OTHER_LIBRARIES and not report.errors:
        _check_ids(report, file, str(metric["type"]))


def _names_of(kind: Any) -> set[str]:
    """Return the names of a metric's class and of those that it is derived from."""
    import mmdet.evaluation  # noqa: F401  registers them; slow to import, so only here
    from mmdet.registry import METRICS

    found = METRICS.get(kind) if isinstance(kind, str) else kind
    return {one.__name__ for one in getattr(found, "__mro__", ())}


def _check_ids(report: DataReport, file: Path, name: str) -> None:
    try:
        content = read_coco(file)
        low = needs_new_ids(content["annotations"])
    except (ValueError, KeyError, TypeError):
        report.error(
            "",
            f"the file must have a list 'annotations' of objects with an id each, "
            f"for {name}, but it has none. Restore it.",
        )
        return
    if low:
        report.error(
            "annotations",
            f"the ids must begin at 1 for {name}, which takes lower ones for 'no match' and scores "
            "too low. Renumber from 1, or score with CocoMetric.",
        )
