"""Reader of COCO files, one for the check, mmdet's datasets and mmdet's metrics."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pycocotools.coco import COCO

_Pairs = list[tuple[str, Any]]


def read_coco(
    file: str | os.PathLike[str], on_object: Callable[[_Pairs], dict[str, Any]] | None = None
) -> Any:
    """Read JSON in UTF-8, UTF-16 or UTF-32, with a byte order mark or without.

    Args:
        file: The file.
        on_object: Makes a dict of the keys and values of each JSON object, where a plain dict is
            not enough.

    Raises:
        ValueError: If it is not JSON, is nested too deeply, or has a number of more digits than
            Python reads; names the file.
    """
    try:
        return json.loads(Path(file).read_bytes(), object_pairs_hook=on_object)
    except RecursionError:
        raise ValueError(f"{file} must be JSON, but it is nested too deeply. Restore it.") from None
    except ValueError as error:
        raise ValueError(
            f"{file} must be JSON, but it is broken ({error}). Restore it, or save it as UTF-8."
        ) from error


def provide_coco_reader() -> None:
    """Make pycocotools read and score what mmdet trains on; repeated calls change nothing.

    pycocotools takes annotation id 0 for "no match", so that a box with this id can never be
    found; it needs ``iscrowd``, which mmdet's datasets do not; and it refuses a byte order mark.
    So files are read by :func:`read_coco`, ids below 1 lead to new ids from 1, and an absent or
    null ``iscrowd`` is 0, in memory alone. mmdet's datasets and metrics read through this class.
    """
    if not getattr(COCO, "_kd_det_reader", False):
        COCO._kd_det_reader = True
        COCO.__init__ = _init_with(COCO.__init__)
        COCO.createIndex = _create_index_with(COCO.createIndex)


def needs_new_ids(annotations: list[dict[str, Any]]) -> bool:
    """Return whether the ids of annotations are numbers that pycocotools cannot score."""
    return any(isinstance(one["id"], int | float) and one["id"] < 1 for one in annotations)


def _init_with(original: Callable[[Any], None]) -> Callable[[Any, str | None], None]:
    def __init__(self: Any, annotation_file: str | None = None) -> None:
        original(self)
        if annotation_file is not None:
            self.dataset = read_coco(annotation_file)
            if not isinstance(self.dataset, dict):
                raise ValueError(f"{annotation_file} must be a JSON object. Restore it.")
            self.createIndex()

    return __init__


def _create_index_with(original: Callable[[Any], None]) -> Callable[[Any], None]:
    def createIndex(self: Any) -> None:
        _complete(self.dataset.get("annotations") or [])
        original(self)

    return createIndex


def _complete(annotations: list[dict[str, Any]]) -> None:
    ids = [annotation["id"] for annotation in annotations]
    unique = len(set(ids)) == len(ids)  # mmdet itself stops at ids that occur twice
    renumber = unique and needs_new_ids(annotations)
    for number, annotation in enumerate(annotations, start=1):
        if renumber:
            annotation["id"] = number
        if annotation.get("iscrowd") is None:
            annotation["iscrowd"] = 0
