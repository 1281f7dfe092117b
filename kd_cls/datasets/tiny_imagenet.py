"""Tiny ImageNet in its native layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_cls.datasets.samples import (
    ClassificationDataset,
    ImageFiles,
    Samples,
    require_count,
    require_file,
)
from kd_engine.data.image_folder import find_images
from kd_engine.data.image_lists import read_rows
from kd_engine.data.splits import check_split

COUNTS = {"train": 100_000, "val": 10_000}
_CLASSES = 200
_FIELDS = "file class left top right bottom"


class TinyImageNet(ClassificationDataset):
    """200 classes of ImageNet, 64 x 64: 100,000 images to train on, 10,000 to test.

    Le and Yang, "Tiny ImageNet Visual Recognition Challenge", 2015,
    http://cs231n.stanford.edu/tiny-imagenet-200.zip. ``test`` is the folder ``val``, whose labels
    are published; the folder ``test`` has none. ``val`` is a tenth of each training class.
    Images are decoded each time: all of them would take 1.2 GB. An id is an image's place among
    the paths of its folder, of the test images 100,000 more.

    Args:
        data_root: The folder ``tiny-imagenet-200`` with ``wnids.txt``, ``train/`` and ``val/``.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        transforms: Configs of transforms.
        check_counts: Require the published numbers.

    Raises:
        FileNotFoundError: If a list is missing.
        ValueError: If a line is broken, an image has no class, or the counts are others.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "trainval",
        transforms: Sequence[Mapping[str, Any]] = (),
        check_counts: bool = True,
    ) -> None:
        check_split(split)
        root = Path(data_root)
        names = read_rows(require_file(root / "wnids.txt"), "class").columns[0]
        place = {name: label for label, name in enumerate(sorted(names))}
        folder = "val" if split == "test" else "train"
        paths = [f"{folder}/{path}" for path in find_images(root / folder)]
        if check_counts:
            require_count(f"{root / 'wnids.txt'}", len(place), _CLASSES, "classes")
            require_count(f"{root / folder}", len(paths), COUNTS[folder])
        classes = _annotated(root, paths) if split == "test" else _of_folders(paths)
        first = COUNTS["train"] if split == "test" else 0
        samples = Samples(
            ImageFiles(root, paths),
            _numbers(root, paths, classes, place),
            first + np.arange(len(paths)),
            tuple(place),
        )
        super().__init__(root, samples.part(split), transforms)


def _of_folders(paths: Sequence[str]) -> list[str]:
    return [path.split("/")[1] for path in paths]


def _annotated(root: Path, paths: Sequence[str]) -> list[str]:
    """Look up the class of each validation image; one that is not listed gets none."""
    rows = read_rows(require_file(root / "val/val_annotations.txt"), _FIELDS)
    listed = dict(zip(rows.columns[0], rows.columns[1], strict=True))
    return [listed.get(path.rpartition("/")[2], "") for path in paths]


def _numbers(
    root: Path, paths: Sequence[str], classes: Sequence[str], place: Mapping[str, int]
) -> Any:
    for path, name in zip(paths, classes, strict=True):
        if name not in place:
            raise ValueError(
                f"every image must have a class of wnids.txt, but {root / path} has "
                f"{name or 'none'}. Fetch the data again."
            )
    return np.array([place[name] for name in classes], dtype=np.int64)
