"""CUB-200-2011 in its native layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_retrieval.datasets.records import RetrievalDataset, Table, check_split, require_counts
from kd_retrieval.datasets.text import read_rows

COUNTS = {"trainval": (5864, 100), "test": (5924, 100)}  # images, classes


class CUB200(RetrievalDataset):
    """Birds: classes 1 to 100 to train on (5,864 images), 101 to 200 to search (5,924).

    Wah, Branson, Welinder, Perona and Belongie, "The Caltech-UCSD Birds-200-2011 Dataset", 2011,
    https://www.vision.caltech.edu/datasets/cub_200_2011. Its own train/test split is of images and
    is not used. ``val`` is the last 20 of the training classes.

    Args:
        data_root: The folder ``CUB_200_2011`` with ``images.txt``, ``image_class_labels.txt``,
            ``classes.txt`` and ``images/``.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        transforms: Configs of transforms.
        check_counts: Require the published numbers.

    Raises:
        FileNotFoundError: If a list is missing.
        ValueError: If a line is broken, or the counts are others.
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
        images = read_rows(root / "images.txt", 2)
        labels = {row[0]: int(row[1]) for row in read_rows(root / "image_class_labels.txt", 2)}
        names = tuple(row[1] for row in read_rows(root / "classes.txt", 2))
        if missing := [row[1] for row in images if row[0] not in labels]:
            raise ValueError(
                f"every image needs a class, but image_class_labels.txt lacks {missing[0]} and "
                f"{len(missing) - 1} more. Unpack the archive again."
            )
        table = Table(
            [f"images/{row[1]}" for row in images],
            np.array([labels[row[0]] - 1 for row in images]),
            np.array([int(row[0]) for row in images]),
            names,
        )
        first_half = table.labels < len(names) // 2
        chosen = table.select(~first_half if split == "test" else first_half)
        if check_counts:
            require_counts("CUB-200-2011", chosen, split, COUNTS)
        super().__init__(data_root, chosen.part(split), transforms)
