"""Checks of training data after the filters of a config: images and boxes must be left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kd_det.checks.report import DataReport
from kd_engine.data.required import dataset_parts
from kd_engine.run.batches import check_batches

_SAME_LENGTH = ("MultiImageMixDataset",)
_LOGARITHM = "DeltaXYWHBBoxCoder"  # of Faster R-CNN, RetinaNet and similar detectors


def check_training(loader: Mapping[str, Any], reports: Sequence[DataReport]) -> None:
    """Require images and a whole batch of training data, and warn where it has no boxes.

    A dataset without boxes is legal where ``filter_cfg`` keeps its images: they are background.

    Args:
        loader: Config of the training data loader.
        reports: The reports on its datasets, in order; the first one receives what is found.
    """
    counts = [report.boxes for report in reports if report.boxes is not None]
    if len(counts) == len(reports) and not sum(counts):
        reports[0].warn(
            "",
            "training needs boxes, but the training data has none of a class of the config: all "
            "that can be learned is background. Annotate some, or correct the classes in the "
            "config's metainfo.",
        )
    images = count_images(loader["dataset"], iter(reports))
    if images is None:
        return
    try:
        check_batches(loader, images)
    except ValueError as error:
        reports[0].error("", str(error))


def check_flat_boxes(
    loader: Mapping[str, Any], reports: Sequence[DataReport], model: Mapping[str, Any]
) -> None:
    """Refuse boxes without width or height whose logarithm makes the loss NaN or infinite.

    Heads that encode boxes as differences to anchors take the logarithm; for others it is a
    warning.

    Args:
        loader: Config of the training data loader.
        reports: The reports on its datasets, in order; they receive the findings.
        model: Config of the student.
    """
    if "FilterAnnotations" in str(loader["dataset"]):
        return
    for part, report in zip(dataset_parts(loader["dataset"]), reports, strict=True):
        filters = part.get("filter_cfg") or {}
        if report.flat and not (filters.get("bbox_min_size") or 0) >= 1:
            (report.error if _LOGARITHM in str(model) else report.warn)(
                "boxes",
                f"boxes to be trained on must have a width and a height, but {report.flat} do "
                "not, and one is enough to make the loss of boxes NaN. Correct them, or have them "
                "ignored: filter_cfg=dict(bbox_min_size=1), or dict(type='FilterAnnotations') in "
                "the pipeline.",
            )


def check_scored_data(reports: Sequence[DataReport]) -> None:
    """Require images in data to be scored, and warn where it has no box.

    Args:
        reports: The reports on the datasets of a loader; the first one receives what is found.
    """
    if reports and all(_is_empty(report) for report in reports):
        reports[0].error("", "a score needs images, but there is none. Complete the data.")
    elif reports and all(report.boxes == 0 for report in reports):
        reports[0].warn(
            "", "no box is of a class of the config, so that a score says nothing. Annotate some."
        )


def count_images(dataset: Mapping[str, Any], reports: Iterator[DataReport]) -> int | None:
    """Count the images of a dataset as mmdet builds it.

    Args:
        dataset: Config of a dataset or a wrapper.
        reports: The reports on the datasets inside, in order; consumed.

    Returns:
        The number, or None where it is unknown.
    """
    kind = str(dataset.get("type")).split(".")[-1]
    if "datasets" in dataset:
        counts = [count_images(one, reports) for one in dataset["datasets"]]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None
    if "dataset" in dataset:
        inner = count_images(dataset["dataset"], reports)
        if kind == "RepeatDataset" and inner is not None:
            return inner * int(dataset["times"])
        return inner if kind in _SAME_LENGTH or inner == 0 else None
    return _kept(dataset, next(reports))


def _is_empty(report: DataReport) -> bool:
    return report.short_sides is not None and not len(report.short_sides)


def _kept(dataset: Mapping[str, Any], report: DataReport) -> int | None:
    """Count the images that ``filter_cfg`` and ``indices`` leave."""
    if report.short_sides is None or report.annotated is None:
        return None
    filters = {} if dataset.get("test_mode") else dataset.get("filter_cfg") or {}
    kept = report.short_sides >= filters.get("min_size", 0)
    if filters.get("filter_empty_gt", False):
        kept = kept & report.annotated
    count, indices = int(np.count_nonzero(kept)), dataset.get("indices")
    if indices is None:
        return count
    return min(count, abs(indices)) if isinstance(indices, int) else len(indices)
