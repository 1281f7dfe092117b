"""Stanford Online Products in its native layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_engine.data.image_lists import read_rows
from kd_engine.data.splits import check_split
from kd_retrieval.datasets.base import RetrievalDataset, Table, require_counts

COUNTS = {"trainval": (59551, 11318), "test": (60502, 11316)}  # images, products


class SOP(RetrievalDataset):
    """Products: 11,318 to train on (59,551 images), 11,316 others to search (60,502).

    Song, Xiang, Jegelka and Savarese, "Deep Metric Learning via Lifted Structured Feature
    Embedding", CVPR 2016. ``val`` is the last fifth of the training products.

    Args:
        data_root: The folder ``Stanford_Online_Products`` with ``Ebay_train.txt`` and
            ``Ebay_test.txt``.
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
        name = "Ebay_test.txt" if split == "test" else "Ebay_train.txt"
        rows = read_rows(Path(data_root) / name, "image class super-class path", ("image_id ",))
        products, labels = np.unique(rows.integers(1), return_inverse=True)
        table = Table(
            rows.paths(3, data_root),
            labels.reshape(-1),
            rows.integers(0),
            tuple(f"product {product}" for product in products),
        )
        if check_counts:
            require_counts("SOP", table, split, COUNTS)
        super().__init__(data_root, table.part(split), transforms)
