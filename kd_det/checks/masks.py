"""Checks of COCO segmentations, where a config trains or scores masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from kd_det.checks.report import DataReport, shown

_CORNERS = 6  # numbers of the smallest polygon


def check_masks(
    report: DataReport, content: Mapping[str, list[dict[str, Any]]], classes: Sequence[str]
) -> None:
    """Look for segmentations that mmdet or pycocotools would stop at or drop.

    Args:
        report: Receives the errors.
        content: Images, annotations and categories of a file, complete.
        classes: Class names of the config; boxes of other classes or without area are not used.
    """
    used = {one["id"] for one in content["categories"] if one["name"] in classes}
    sizes = {one["id"]: [one["height"], one["width"]] for one in content["images"]}
    for annotation in content["annotations"]:
        if annotation["category_id"] not in used or annotation["area"] <= 0:
            continue
        segmentation = annotation.get("segmentation")
        if not (_are_polygons(segmentation) or _is_rle(segmentation, sizes, annotation)):
            report.error(
                f"annotation {annotation['id']} (image {annotation['image_id']})",
                "segmentation must be a list of polygons, the first of at least three corners "
                "[x, y, x, y, x, y], or a run-length code with size [height, width] of the image "
                f"and counts, but it is {shown(segmentation)}. Correct it, or train without masks.",
            )


def wants_masks(pipeline: Any) -> bool:
    """Return whether a data pipeline loads masks."""
    steps = pipeline if isinstance(pipeline, list | tuple) else []
    return any(isinstance(step, Mapping) and bool(step.get("with_mask")) for step in steps)


def _are_polygons(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    if not all(isinstance(polygon, list) and _are_numbers(polygon) for polygon in value):
        return False
    whole = any(len(polygon) >= _CORNERS and len(polygon) % 2 == 0 for polygon in value)
    return whole and len(value[0]) >= _CORNERS  # pycocotools takes four numbers for a box


def _are_numbers(values: list[Any]) -> bool:
    return all(type(value) in (int, float) and isfinite(value) for value in values)


def _is_rle(value: Any, sizes: Mapping[Any, list[float]], annotation: Mapping[str, Any]) -> bool:
    if not isinstance(value, dict) or value.get("size") != sizes.get(annotation["image_id"]):
        return False
    counts = value.get("counts")
    if isinstance(counts, list):
        whole = all(type(count) is int and 0 <= count < 2**32 for count in counts)
        return whole and sum(counts) == value["size"][0] * value["size"][1]
    return isinstance(counts, str) and bool(counts)
