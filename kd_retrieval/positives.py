"""Who is a positive of whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_MAX_CELLS = 2**30  # bytes of a table of labels


class ClassLabels:
    """One label for each row; both sides are sorted by it.

    Args:
        queries: Labels of the queries, int64 (N,), ascending.
        gallery: Labels of the gallery, int64 (M,), ascending.
    """

    def __init__(self, queries: Tensor, gallery: Tensor) -> None:
        self.queries, self.gallery = queries, gallery

    def columns_of(self, rows: slice) -> tuple[int, int]:
        """Where in the gallery positives of these queries can be: first and last + 1."""
        ends = self.queries[rows][[0, -1]]
        first = torch.searchsorted(self.gallery, ends[0], right=False)
        last = torch.searchsorted(self.gallery, ends[1], right=True)
        return int(first), int(last)

    def same(self, rows: slice, columns: slice) -> Tensor:
        """Tell who is of the same class (R, C)."""
        return self.queries[rows, None] == self.gallery[None, columns]

    def same_pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Tell which pairs are of the same class (P,)."""
        return self.queries[rows] == self.gallery[columns]


class LabelSets:
    """Several labels for each row: a positive shares at least one.

    Args:
        queries: Table of labels, uint8 (N, L), 1 where a query has the label.
        gallery: The same of the gallery (M, L).
    """

    def __init__(self, queries: Tensor, gallery: Tensor) -> None:
        self.queries, self.gallery = queries, gallery

    def columns_of(self, rows: slice) -> tuple[int, int]:
        """Where positives can be: everywhere."""
        return 0, len(self.gallery)

    def same(self, rows: slice, columns: slice) -> Tensor:
        """Tell who shares a label (R, C)."""
        return self.queries[rows].float() @ self.gallery[columns].float().T > 0

    def same_pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Tell which pairs share a label (P,)."""
        return (self.queries[rows] & self.gallery[columns]).bool().any(dim=1)


def table_of(*sides: Sequence[Any]) -> list[Tensor]:
    """Turn lists of labels into tables uint8 (N, L) over the labels of all sides.

    Raises:
        ValueError: If the tables would take more than 1 GB.
    """
    labels = sorted({label for side in sides for row in side for label in row})
    known = {label: number for number, label in enumerate(labels)}
    cells = sum(len(side) for side in sides) * len(known)
    if cells > _MAX_CELLS:
        raise ValueError(
            f"several labels for each image need a table of {cells:,} bytes, but at most "
            f"{_MAX_CELLS:,} are allowed. Split the queries, or use one label for each image."
        )
    tables = []
    for side in sides:
        sizes = [len(row) for row in side]
        table = torch.zeros(len(side), len(known), dtype=torch.uint8)
        rows = torch.from_numpy(np.repeat(np.arange(len(side)), sizes))
        table[rows, torch.tensor([known[x] for row in side for x in row])] = 1
        tables.append(table)
    return tables
