"""CUB-200-2011 in its native layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_engine.data.image_lists import read_rows
from kd_engine.data.splits import check_split
from kd_retrieval.datasets.base import RetrievalDataset, Table, require_counts, require_unique

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
        ValueError: If a line is broken, an image or id comes twice, or the counts are others.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "trainval",
        transforms: Sequence[Mapping[str, Any]] = (),
        check_counts: bool = True,
    ) -> None:
        check_split(split)
        table = _read(Path(data_root))
        chosen = table.half(split)
        if check_counts:
            require_counts(
                "CUB-200-2011",
                chosen,
                split,
                COUNTS,
                "Wanted is CUB-200-2011 with 11,788 images, not CUB-200 of 2010 with 6,033.",
            )
        super().__init__(data_root, chosen.part(split), transforms)


def _read(root: Path) -> Table:
    classes = read_rows(root / "classes.txt", "number name")
    place = {number: row for row, number in enumerate(classes.columns[0])}
    labeled = read_rows(root / "image_class_labels.txt", "id class")
    label_of = {}
    for row, (id_, number) in enumerate(zip(*labeled.columns, strict=True)):
        if number not in place:
            raise ValueError(
                f"{labeled.where(row)} must have a class of classes.txt, but has {number!r}."
            )
        label_of[id_] = place[number]
    images = read_rows(root / "images.txt", "id path")
    unknown = [row for row, id_ in enumerate(images.columns[0]) if id_ not in label_of]
    if unknown:
        raise ValueError(
            f"every image needs a class, but image_class_labels.txt lacks that of "
            f"{images.where(unknown[0])} and of {len(unknown) - 1} more. Unpack the archive again."
        )
    table = Table(
        [f"images/{path}" for path in images.paths(1, root / "images")],
        np.array([label_of[id_] for id_ in images.columns[0]], dtype=np.int64),
        images.integers(0),
        tuple(classes.columns[1]),
    )
    require_unique(table, root / "images.txt")
    return table
