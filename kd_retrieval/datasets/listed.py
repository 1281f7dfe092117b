"""Data sets whose splits are two text files of paths and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_retrieval.datasets.records import RetrievalDataset, Table, check_split, require_counts

LISTS = ("retrieval_train.txt", "retrieval_test.txt")


class _Listed(RetrievalDataset):
    """``retrieval_train.txt`` and ``retrieval_test.txt``: lines of a path and a label.

    Args:
        data_root: Folder with the two files.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        transforms: Configs of transforms.
        check_counts: Require the published numbers of images.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a line is broken or the counts are others.
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
        test = split == "test"
        first = self.counts["trainval"][0] if test else 0  # ids go on from one file to the other
        table = _read(Path(data_root) / LISTS[test], self.class_name, first)
        if check_counts:
            require_counts(type(self).__name__, table, split, self.counts)
        super().__init__(data_root, table if test else table.part(split), transforms)

    @staticmethod
    def class_name(path: str) -> str:
        """Name the class of an image by its folder."""
        return str(Path(path).parent.name)


class Caltech100(_Listed):
    """Caltech-101 without its class Faces_easy, at most 60 images a class: 50 / 50 classes.

    Li, Andreeto, Ranzato and Perona, 2022, https://doi.org/10.22002/D1.20086 (CC BY 4.0);
    docs/retrieval_data.md says how this layout is made from it.
    """

    counts = {"trainval": (2662, 50), "test": (2571, 50)}


class Omniglot(_Listed):
    """Characters of Omniglot's two small background sets: 136 / 106 classes of 20 images.

    Lake, Salakhutdinov and Tenenbaum, Science 350 (6266), 2015 (MIT licence);
    docs/retrieval_data.md says how this layout is made from it.
    """

    counts = {"trainval": (2720, 136), "test": (2120, 106)}

    @staticmethod
    def class_name(path: str) -> str:
        """Name a character by its alphabet and number."""
        return "/".join(Path(path).parts[-3:-1])


def _read(path: Path, class_name: Any, first: int) -> Table:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. docs/retrieval_data.md says how it is made.")
    paths, labels = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.rsplit(" ", 1)
        if len(fields) != 2 or not fields[1].isdigit():
            raise ValueError(f"{path}, line {number}, must be a path and a label, but is {line!r}.")
        paths.append(fields[0])
        labels.append(int(fields[1]))
    names: dict[int, str] = {}
    for one, label in zip(paths, labels, strict=True):
        names.setdefault(label, class_name(one))
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"labels of {path} must be 0 to {len(names) - 1} without a gap.")
    ids = np.arange(first, first + len(paths), dtype=np.int64)
    classes = tuple(names[label] for label in range(len(names)))
    return Table(paths, np.array(labels, dtype=np.int64), ids, classes)
