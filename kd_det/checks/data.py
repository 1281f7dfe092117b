"""Checks of the data of an mmdet config before a run: annotations, class names, images."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_det.annotations.image_header import loading_of
from kd_det.checks.coco import check_coco
from kd_det.checks.masks import wants_masks
from kd_det.checks.report import DataReport, raise_on_errors
from kd_det.checks.voc import VocFolders, check_voc
from kd_engine.data.required import dataset_parts

__all__ = [
    "DataReport",
    "check_coco",
    "check_dataset_config",
    "check_voc",
    "dataset_classes",
    "raise_on_errors",
]

# Derived from mmdet's COCO and VOC readers, with files of another layout.
_OTHER_LAYOUTS = {"CocoPanopticDataset", "LVISV05Dataset", "WIDERFaceDataset"}
_PREFIXES = {"coco": "img", "voc": "sub_data_root"}


def check_dataset_config(dataset: Mapping[str, Any], decode: bool = False) -> list[DataReport]:
    """Check every dataset that a config's ``dataset`` names, also inside wrappers.

    Args:
        dataset: Config of a CocoDataset, a VOCDataset, a class derived from one of these, or a
            wrapper such as RepeatDataset, ClassBalancedDataset or ConcatDataset.
        decode: Also read every image in full.

    Returns:
        One report for each annotation file. A type that cannot be checked gives a note.
    """
    return [_check_part(part, decode) for part in dataset_parts(dataset)]


def dataset_classes(dataset: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the class names of every COCO or VOC dataset that a config's ``dataset`` names.

    Args:
        dataset: As for :func:`check_dataset_config`.
    """
    parts = [part for part in dataset_parts(dataset) if _has_boxes(part)]
    return [tuple(kind_and_classes(part)[1]) for part in parts]


def kind_and_classes(dataset: Mapping[str, Any]) -> tuple[str, Sequence[str]]:
    """Return the format ("coco", "voc" or "" for neither) and the class names."""
    reader, bases = _reader_of(dataset), _bases_of(dataset)
    kind = "coco" if "CocoDataset" in bases else "voc" if "XMLDataset" in bases else ""
    kind = "" if bases & _OTHER_LAYOUTS else kind
    classes = (dataset.get("metainfo") or {}).get("classes")
    if classes is None:
        classes = getattr(reader, "METAINFO", {}).get("classes") or _labels_of(dataset, reader)
    if isinstance(classes, str):
        classes = _classes_of_file(classes)
    return kind, tuple(classes)


def _labels_of(dataset: Mapping[str, Any], reader: type) -> str | tuple[str, ...]:
    """Return the file in which V3Det's reader finds its classes; no classes if it is absent."""
    default = getattr(inspect.signature(reader).parameters.get("label_file"), "default", None)
    name = dataset.get("label_file") or default
    if not isinstance(name, str):  # there is no such option, or it has no default
        return ()
    file = os.path.join(dataset.get("data_root") or "", name)
    return file if os.path.isfile(file) else ()


def _reader_of(dataset: Mapping[str, Any]) -> type:
    import mmdet.datasets  # noqa: F401  registers them; slow to import, so only here
    from mmdet.registry import DATASETS

    name = dataset.get("type")
    reader = DATASETS.get(name) if isinstance(name, str) else name
    if not isinstance(reader, type):
        raise ValueError(
            f"the type of a dataset must be one that mmdet knows, but it is {name!r}. "
            "Correct it, or import its module through custom_imports."
        )
    return reader


def _bases_of(dataset: Mapping[str, Any]) -> set[str]:
    return {base.__name__ for base in _reader_of(dataset).__mro__}


def _has_boxes(dataset: Mapping[str, Any]) -> bool:
    """Return for each class whether it has boxes; some panoptic classes are areas without a box."""
    bases = _bases_of(dataset)
    return bool(bases & {"CocoDataset", "XMLDataset"}) and "CocoPanopticDataset" not in bases


def _classes_of_file(name: str) -> list[str]:
    """Read the file that mmengine expects where ``classes`` is a text: one class name per line."""
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
    if kind == "" or not annotation_file or not classes:
        reason = "its classes are unknown" if annotation_file else "it has no ann_file"
        reason = reason if kind else "only plain COCO and VOC can be"
        return DataReport(str(dataset.get("type")), notes=[f"not checked: {reason}"])
    root, prefix = dataset.get("data_root") or "", dataset.get("data_prefix") or {}
    file, key = os.path.join(root, annotation_file), _PREFIXES[kind]
    folders = _voc_folders(dataset) if kind == "voc" else None
    if key not in prefix and (folders is None or not os.path.isdir(folders.annotations)):
        report = DataReport(file)
        report.error(
            "",
            f"data_prefix must have {key!r}, the folder of the images below data_root, but it has "
            f"{', '.join(prefix) or 'nothing'}: mmdet looks there alone. Add {key}='' for "
            "data_root itself.",
        )
        return report
    folder = os.path.join(root, prefix[key]) if key in prefix else ""
    loading, pipeline = loading_of(dataset.get("pipeline")), dataset.get("pipeline")
    if kind == "coco":
        return check_coco(file, folder, classes, decode, loading, wants_masks(pipeline))
    return check_voc(folder, file, classes, decode, folders, loading)


def _voc_folders(dataset: Mapping[str, Any]) -> VocFolders:
    """Return the folders that the config names, otherwise the reader's own."""
    names = {}
    for base in reversed(_reader_of(dataset).__mro__):
        made = vars(base).get("__init__")
        parameters = inspect.signature(made).parameters if made else {}
        for key in parameters.keys() & {"img_subdir", "ann_subdir"}:
            names[key] = parameters[key].default
    names.update({key: dataset[key] for key in names if key in dataset})
    return VocFolders(names["img_subdir"], names["ann_subdir"])
