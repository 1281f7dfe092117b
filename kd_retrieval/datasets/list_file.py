"""Datasets whose splits are two text files of paths and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_engine.data.image_lists import ListRows, first_repeat, read_rows
from kd_engine.data.splits import check_split
from kd_retrieval.datasets.base import RetrievalDataset, Table, require_counts, require_unique

LISTS = ("retrieval_train.txt", "retrieval_test.txt")


class _Listed(RetrievalDataset):
    """Dataset of two lists, ``retrieval_train.txt`` and ``retrieval_test.txt``: path and label.

    An image's id is its place in the two lists, one after the other.

    Args:
        data_root: Folder with the two files.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        transforms: Configs of transforms.
        check_counts: Require the published numbers of images.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a line is broken, an image comes twice, a class is in both lists, or the
            counts are others.
    """

    counts: Mapping[str, tuple[int, int]] = {}  # images and classes

    def __init__(
        self,
        data_root: str,
        split: str = "trainval",
        transforms: Sequence[Mapping[str, Any]] = (),
        check_counts: bool = True,
    ) -> None:
        check_split(split)
        root = Path(data_root)
        parts = [read_rows(root / name, "path label", path_first=True) for name in LISTS]
        train, test = (_read(rows, root, self.class_name) for rows in parts)
        test.ids = test.ids + len(train.ids)
        if shared := sorted(set(train.class_names) & set(test.class_names)):
            raise ValueError(
                f"classes to be searched must not be trained on, but both lists of {root} have "
                f"{', '.join(shared[:5])} ({len(shared)} in all)."
            )
        table = test if split == "test" else train
        if check_counts:
            require_counts(type(self).__name__, table, split, self.counts)
        super().__init__(data_root, table.part(split), transforms)

    @staticmethod
    def class_name(path: str) -> str:
        """Name the class of an image by its folder."""
        return str(Path(path).parent.name)


class Caltech100(_Listed):
    """Caltech-101 without its class Faces_easy, at most 60 images a class: 50 / 50 classes.

    Li, Andreeto, Ranzato and Perona, 2022, https://doi.org/10.22002/D1.20086 (CC BY 4.0);
    ``kdkit make-retrieval-sets`` makes this layout from it.
    """

    counts = {"trainval": (2662, 50), "test": (2571, 50)}


class Omniglot(_Listed):
    """Characters of Omniglot's two small background sets: 136 / 106 classes of 20 images.

    Lake, Salakhutdinov and Tenenbaum, Science 350 (6266), 2015 (MIT license);
    ``kdkit make-retrieval-sets`` makes this layout from it.
    """

    counts = {"trainval": (2720, 136), "test": (2120, 106)}

    @staticmethod
    def class_name(path: str) -> str:
        """Name a character by its alphabet and number."""
        return "/".join(Path(path).parts[-3:-1])


def _read(rows: ListRows, root: Path, class_name: Any) -> Table:
    paths, labels = rows.paths(0, root), rows.integers(1)
    names: dict[int, str] = {}
    for row, (path, label) in enumerate(zip(paths, labels.tolist(), strict=True)):
        name = class_name(path)
        if names.setdefault(label, name) != name:
            raise ValueError(
                f"a label must stand for one folder, but {rows.where(row)} gives {label} to "
                f"{name} and an earlier line to {names[label]}."
            )
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"labels of {rows.path} must be 0 to {len(names) - 1} without a gap.")
    classes = tuple(names[label] for label in range(len(names)))
    if repeat := first_repeat(classes):
        raise ValueError(
            f"a folder must have one label, but {rows.path} gives labels {repeat[0]} and "
            f"{repeat[1]} to {classes[repeat[0]]}."
        )
    table = Table(paths, labels, np.arange(len(paths)), classes)
    require_unique(table, rows.path)
    return table
