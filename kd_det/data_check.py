"""Checks the data of an mmdet config before a run: annotations, class names, images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_det.coco_check import check_coco
from kd_det.data_report import DataReport, raise_on_errors
from kd_det.image_header import loading_of
from kd_det.voc_check import check_voc
from kd_engine.runs import dataset_parts

__all__ = [
    "DataReport",
    "check_coco",
    "check_dataset_config",
    "check_voc",
    "dataset_classes",
    "raise_on_errors",
]


def check_dataset_config(dataset: Mapping[str, Any], decode: bool = False) -> list[DataReport]:
    """Check every data set that a config's ``dataset`` names, also inside wrappers.

    Args:
        dataset: Config of a CocoDataset, a VOCDataset, a class derived from one of these, or a
            wrapper such as RepeatDataset, ClassBalancedDataset or ConcatDataset.
        decode: Also read every picture in full.

    Returns:
        One report for each annotation file. A type that cannot be checked gives a note.
    """
    return [_check_part(part, decode) for part in dataset_parts(dataset)]


def dataset_classes(dataset: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the class names of every COCO or VOC data set that a config's ``dataset`` names.

    Args:
        dataset: As for :func:`check_dataset_config`.
    """
    found = [kind_and_classes(part) for part in dataset_parts(dataset)]
    return [tuple(names) for kind, names in found if kind]


def kind_and_classes(dataset: Mapping[str, Any]) -> tuple[str, Sequence[str]]:
    """Return "coco", "voc" or "" for neither, and the class names."""
    from mmdet.datasets import CocoDataset, XMLDataset  # slow to import, so only here
    from mmdet.registry import DATASETS

    name = dataset.get("type")
    reader = DATASETS.get(name) if isinstance(name, str) else name
    if not isinstance(reader, type):
        raise ValueError(
            f"the type of a data set must be one that mmdet knows, but it is {name!r}. "
            "Correct it, or import its module through custom_imports."
        )
    kind = "coco" if issubclass(reader, CocoDataset) else ""
    kind = "voc" if issubclass(reader, XMLDataset) else kind
    classes = (dataset.get("metainfo") or {}).get("classes")
    if classes is None:
        classes = getattr(reader, "METAINFO", {}).get("classes", ())
    if isinstance(classes, str):
        classes = _classes_of_file(classes)
    return kind, tuple(classes)


def _classes_of_file(name: str) -> list[str]:
    """Read what mmengine takes a text for: a file with one class name per line."""
    if not Path(name).is_file():
        raise ValueError(
            f"classes must be a tuple of names or a file with one name per line, but {name!r} is "
            f"neither. A tuple of one name is written ({name!r},)."
        )
    lines = Path(name).read_text(encoding="utf-8").splitlines()
    if lines and lines[0].startswith("\ufeff"):
        raise ValueError(
            f"{name} begins with a byte order mark, which mmengine takes for a part of the first "
            "class name. Save it as UTF-8 without one."
        )
    return lines


def _check_part(dataset: Mapping[str, Any], decode: bool) -> DataReport:
    annotation_file = dataset.get("ann_file") or ""
    kind, classes = kind_and_classes(dataset)
    if kind == "" or not annotation_file:
        reason = "it has no ann_file" if kind else "only COCO and VOC can be"
        return DataReport(str(dataset.get("type")), notes=[f"not checked: {reason}"])
    root = dataset.get("data_root") or ""
    prefix = dataset.get("data_prefix") or {}
    file = os.path.join(root, annotation_file)
    loading = loading_of(dataset.get("pipeline"))
    if kind == "coco":
        images = os.path.join(root, prefix.get("img", ""))
        return check_coco(file, images, classes, decode, loading)
    voc = os.path.join(root, prefix.get("sub_data_root", ""))
    return check_voc(voc, file, classes, decode, loading=loading)
