"""Checks of COCO annotations before mmdet reads them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_det.annotations.box_table import coco_table
from kd_det.annotations.coco_file import load_coco, note_reading
from kd_det.annotations.image_header import ImageLoading
from kd_det.checks.boxes import check_boxes
from kd_det.checks.images import check_image_files
from kd_det.checks.masks import check_masks
from kd_det.checks.report import DataReport, ImageEntry, note_boxes
from kd_engine.data.download.public import missing_data_message

_SHOWN = 20  # names of classes in a message


def check_coco(
    annotation_file: str | os.PathLike[str],
    image_dir: str | os.PathLike[str],
    classes: Sequence[str],
    decode: bool = False,
    loading: ImageLoading | None = None,
    masks: bool = False,
) -> DataReport:
    """Check a COCO annotation file and its images.

    Args:
        annotation_file: The JSON file.
        image_dir: Folder that the file names in it are relative to.
        classes: Class names of the config, in the order of the labels.
        decode: Also read every image in full.
        loading: How the pipeline decodes images; the default is mmdet's.
        masks: Also check the segmentations.

    Returns:
        Errors and notes.
    """
    report = DataReport(str(annotation_file))
    content = load_coco(report, Path(annotation_file))
    if content is None:
        return report
    _check_classes(report, content["categories"], classes)
    _check_annotations(report, content, classes)
    if masks:
        check_masks(report, content, classes)
    note_reading(report, Path(annotation_file), content["annotations"])
    if not Path(image_dir).is_dir():
        report.error("", missing_data_message(image_dir))
        return report
    leading_out = sum(_leads_out(image["file_name"]) for image in content["images"])
    report.count(leading_out, f"images by a path that leads out of {image_dir} (legal)")
    entries = [
        ImageEntry(
            f"image {image['id']}",
            os.path.join(image_dir, image["file_name"]),
            image["width"],
            image["height"],
        )
        for image in content["images"]
    ]
    check_image_files(report, entries, decode, loading)
    return report


def _leads_out(file_name: str) -> bool:
    return os.path.isabs(file_name) or ".." in Path(file_name).parts


def _check_classes(
    report: DataReport, categories: list[dict[str, Any]], classes: Sequence[str]
) -> None:
    _check_unique(report, "category", [category["id"] for category in categories])
    names = [str(category["name"]) for category in categories]
    known, wanted = set(names), set(classes)
    if absent := [name for name in classes if name not in known]:
        verb = "is" if len(absent) == 1 else "are"
        report.error(
            "categories",
            f"each class of the config must be a category, but {_some(absent)} {verb} none of "
            f"{_some(names) or 'its 0 categories'}. Correct the classes in the config's metainfo.",
        )
    ordered = [name for name in names if name in wanted]
    if not absent and ordered != list(classes):
        own, its = next((a, b) for a, b in zip_longest(classes, ordered) if a != b)
        report.error(
            "categories",
            "the classes of the config must come in the order of the categories, because mmdet "
            f"numbers labels in that order, but the config has {_some(classes)} and the file "
            f"{_some(ordered)}: {own} for {its} is the first that differs. Reorder the classes "
            "in the config.",
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _check_annotations(
    report: DataReport, content: dict[str, list[dict[str, Any]]], classes: Sequence[str]
) -> None:
    images, annotations = content["images"], content["annotations"]
    _check_unique(report, "image", [image["id"] for image in images])
    _check_unique(report, "annotation", [annotation["id"] for annotation in annotations])
    names = {category["id"]: category["name"] for category in content["categories"]}
    annotations = _with_known_class(report, annotations, names)
    rows = {image["id"]: row for row, image in enumerate(images)}
    annotations = _with_known_image(report, annotations, rows)
    boxes = np.array([a["bbox"] for a in annotations], dtype=np.float64).reshape(-1, 4)
    row = np.array([rows[a["image_id"]] for a in annotations], dtype=np.int64)
    extents = np.array([[i["width"], i["height"]] for i in images], dtype=np.float64).reshape(-1, 2)
    report.notes.append(f"{len(images)} images, {len(content['annotations'])} boxes")
    _check_boxes(report, annotations, boxes, extents[row])
    places = {name: label for label, name in enumerate(classes)}
    labels = [places.get(names[a["category_id"]], -1) for a in annotations]
    table = coco_table(annotations, boxes, row, extents[row], np.array(labels, dtype=np.int64))
    check_boxes(report, table, classes)
    report.short_sides = extents.min(axis=1)
    report.annotated = np.isin(np.arange(len(images)), row[table.labels >= 0])
    report.boxes = table.useful
    report.count(len(images) - len(np.unique(row)), "images without boxes (legal)")
    numbers = Counter(names[annotation["category_id"]] for annotation in annotations)
    note_boxes(report, numbers, classes)
    for name in sorted(set(numbers) - set(classes)):
        report.count(
            numbers[name], f"boxes of {name!r}, which is not a class of the config, unused"
        )


def _check_unique(report: DataReport, what: str, ids: Sequence[Any]) -> None:
    if len(set(ids)) == len(ids):
        return
    for name, times in Counter(ids).items():
        if times > 1:
            report.error(
                f"{what} {name}",
                f"{what} ids must be unique, but this one occurs {times} times. Renumber them.",
            )


def _with_known_class(
    report: DataReport, annotations: list[dict[str, Any]], names: dict[Any, str]
) -> list[dict[str, Any]]:
    for annotation in (a for a in annotations if a["category_id"] not in names):
        report.error(
            _place(annotation),
            f"the class must be one of the categories, but category_id {annotation['category_id']} "
            "is none of them. Correct it or add the category.",
        )
    return [annotation for annotation in annotations if annotation["category_id"] in names]


def _with_known_image(
    report: DataReport, annotations: list[dict[str, Any]], rows: dict[Any, int]
) -> list[dict[str, Any]]:
    for annotation in (a for a in annotations if a["image_id"] not in rows):
        report.error(
            f"annotation {annotation['id']}",
            f"the annotation must belong to a listed image, but image_id {annotation['image_id']} "
            "is not listed. Add the image or remove the annotation.",
        )
    return [annotation for annotation in annotations if annotation["image_id"] in rows]


def _check_boxes(
    report: DataReport,
    annotations: list[dict[str, Any]],
    boxes: NDArray[np.float64],
    extents: NDArray[np.float64],
) -> None:
    """Check boxes (B, 4) against the width and height (B, 2) of their images."""
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    area = np.array([annotation["area"] for annotation in annotations], dtype=np.float64)
    tiny = (boxes[:, 2:] < 1).any(axis=1) | (area <= 0)
    outside = ~tiny & ((low >= extents) | (high <= 0)).any(axis=1)
    beyond = ~tiny & ~outside & ((low < 0) | (high > extents)).any(axis=1)
    for index in np.flatnonzero(outside):
        width, height = extents[index]
        report.error(
            _place(annotations[index]),
            f"the box must touch its image of {width:.0f} x {height:.0f}, but [x, y, w, h] = "
            f"{annotations[index]['bbox']} lies wholly outside. Correct or remove it.",
        )
    report.count(int(tiny.sum()), "boxes without area or below one pixel (mmdet drops them)")
    report.count(int(beyond.sum()), "boxes partly beyond the border (mmdet clips them)")
    crowds: Iterable[bool] = (bool(annotation.get("iscrowd")) for annotation in annotations)
    report.count(sum(crowds), "crowd boxes (mmdet ignores them in training)")


def _place(annotation: dict[str, Any]) -> str:
    return f"annotation {annotation['id']} (image {annotation['image_id']})"
