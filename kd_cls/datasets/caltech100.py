"""Caltech-101 without Faces_easy, divided within each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_cls.datasets.samples import (
    ClassificationDataset,
    ImageFiles,
    Samples,
    decoded,
    require_count,
)
from kd_engine.data.image_lists import first_repeat, read_rows
from kd_engine.data.splits import check_split, rows_of_split

LISTS = ("retrieval_train.txt", "retrieval_test.txt")
COUNT, CLASSES = 5_233, 100


class Caltech100(ClassificationDataset):
    """5,233 images of 100 classes, at most 60 of each.

    Li, Andreeto, Ranzato and Perona, 2022, https://doi.org/10.22002/D1.20086 (CC BY 4.0);
    ``kdkit make-retrieval-sets`` makes this layout from it. Retrieval divides its classes;
    here each class is divided 60 : 20 : 20 into train, val and test by
    :func:`kd_engine.data.splits.split_inside_classes` with seed 0, over the images in the
    order of their paths. That is a split of our own, not one that others report on. Images are
    decoded each time (all of them would take 0.4 GB), or once at a small size. An id is an
    image's place among all paths.

    Args:
        data_root: Folder with the two lists and the images.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        transforms: Configs of transforms; the last ones must give one size.
        check_counts: Require the published numbers.
        in_memory: Height H and width W: decode every image once, resize it to them and keep it
            as uint8, in n * H * W * 3 bytes for n images (16 MB for 4,187 of 36 x 36).

    Raises:
        FileNotFoundError: If a list is missing.
        ValueError: If a line is broken, an image comes twice, the counts are others, or one that
            is kept in memory cannot be decoded.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "trainval",
        transforms: Sequence[Mapping[str, Any]] = (),
        check_counts: bool = True,
        in_memory: tuple[int, int] | None = None,
    ) -> None:
        check_split(split)
        root = Path(data_root)
        paths = sorted(
            path
            for name in LISTS
            for path in read_rows(root / name, "path label", path_first=True).paths(0, root)
        )
        if repeat := first_repeat(paths):
            raise ValueError(f"the lists of {root} must not name {paths[repeat[0]]} twice.")
        names, labels = np.unique([Path(path).parent.name for path in paths], return_inverse=True)
        if check_counts:
            require_count(f"Caltech-100 of {root}", len(paths), COUNT)
            require_count(f"Caltech-100 of {root}", len(names), CLASSES, "classes")
        labels = labels.reshape(-1).astype(np.int64)
        rows = rows_of_split(labels, split)
        files = ImageFiles(root, [paths[row] for row in rows])
        samples = Samples(
            files if in_memory is None else decoded(files, (in_memory[0], in_memory[1])),
            labels[rows],
            rows,
            tuple(str(name) for name in names),
        )
        super().__init__(root, samples, transforms)
