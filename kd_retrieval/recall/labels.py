"""Labels of queries and gallery, one or several a row: which rows are positives of which."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_MAX_WORDS = 2**27  # of a table of labels: 1 GB
_BITS = 64  # of a word
_CELLS = 2**20  # words that are compared at once


class ClassLabels:
    """One label for each row; both sides are sorted by it.

    Args:
        queries: Labels of the queries, int64 (N,), ascending.
        gallery: Labels of the gallery, int64 (M,), ascending.
    """

    def __init__(self, queries: Tensor, gallery: Tensor) -> None:
        self.queries, self.gallery = queries, gallery

    def columns_of(self, rows: slice) -> tuple[int, int]:
        """Return where in the gallery positives of these queries can be: first and last + 1."""
        ends = self.queries[rows][[0, -1]]
        first = torch.searchsorted(self.gallery, ends[0], right=False)
        last = torch.searchsorted(self.gallery, ends[1], right=True)
        return int(first), int(last)

    def same(self, rows: slice, columns: slice) -> Tensor:
        """Return which queries and gallery rows are of the same class (R, C)."""
        return self.queries[rows, None] == self.gallery[None, columns]

    def same_pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return which pairs are of the same class (P,)."""
        return self.queries[rows] == self.gallery[columns]


class LabelSets:
    """Several labels for each row: a positive shares at least one.

    Each label is a bit of a table with W = ceil(L / 64) words a row. Only so many words are
    compared at once that any number of labels takes the same memory.

    Args:
        queries: Table of labels, int64 (N, W); see :func:`label_tables`.
        gallery: The same of the gallery (M, W).
    """

    def __init__(self, queries: Tensor, gallery: Tensor) -> None:
        self.queries, self.gallery = queries, gallery

    def columns_of(self, rows: slice) -> tuple[int, int]:
        """Return where positives can be: everywhere."""
        return 0, len(self.gallery)

    def same(self, rows: slice, columns: slice) -> Tensor:
        """Return which queries and gallery rows share a label (R, C)."""
        left, right = self.queries[rows], self.gallery[columns]
        shared = torch.zeros(len(left), len(right), dtype=torch.bool, device=left.device)
        for one, other in zip(left.T, right.T, strict=True):
            shared |= (one[:, None] & other[None, :]) != 0
        return shared

    def same_pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return which pairs share a label (P,)."""
        chunk = max(1, _CELLS // self.queries.shape[1])
        parts = [
            (self.queries[left] & self.gallery[right] != 0).any(dim=1)
            for left, right in zip(rows.split(chunk), columns.split(chunk), strict=True)
        ]
        return torch.cat(parts)


def is_sets(labels: Any) -> bool:
    """Return whether labels are sets of labels, not single ones.

    Raises:
        ValueError: If some are sets and some are not, or the labels are a table of integers.
    """
    if isinstance(labels, Tensor | np.ndarray) and labels.dtype is not np.dtype(object):
        if labels.ndim == 2 and labels.dtype not in (torch.bool, np.dtype(bool)):
            raise ValueError(
                "labels must be integers (N,), a list of sets, or a bool table (N, L), but they "
                f"are {labels.dtype} {tuple(labels.shape)}: do its rows list labels, or mark them "
                "by 1? Give table.tolist(), or table != 0."
            )
        return labels.ndim == 2
    sets = [_is_set(row) for row in labels]
    if any(sets) and not all(sets):
        raise ValueError(
            "labels must be all single or all sets, but label "
            f"{sets.index(not sets[0])} differs from the first. Give each as a set."
        )
    return any(sets)


def _is_set(label: Any) -> bool:
    if isinstance(label, Tensor | np.ndarray):
        return label.ndim > 0
    return isinstance(label, Collection) and not isinstance(label, str | bytes)


def label_tables(*sides: Any) -> list[Tensor]:
    """Turn sets of labels into tables of bits over the labels of all sides.

    Args:
        sides: For each row a collection of labels (any that can be hashed), or a bool table (N, L).

    Returns:
        For each side an int64 table (N, W) with W = ceil(L / 64), at least 1.

    Raises:
        ValueError: If the tables would take more than 1 GB, or one side has single labels.
    """
    rows = [[_labels_of(row) for row in side] for side in sides]
    known: dict[Any, int] = {}
    for side in rows:
        for labels in side:
            for label in labels:
                known.setdefault(label, len(known))
    words = max(1, -(-len(known) // _BITS))
    if sum(len(side) for side in rows) * words > _MAX_WORDS:
        raise ValueError(
            f"sets of labels need {words * 8:,} bytes for each image, as there are {len(known):,} "
            f"labels, but all together may take {_MAX_WORDS * 8:,}. Split the queries, or use one "
            "label for each image."
        )
    return [_bits(side, known, words) for side in rows]


def _labels_of(row: Any) -> set[Any]:
    if not _is_set(row):
        raise ValueError(
            f"labels of queries and gallery must both be sets where one is, but one is {row!r}."
        )
    if isinstance(row, Tensor | np.ndarray):
        marks = row.dtype in (torch.bool, np.dtype(bool))
        row = np.flatnonzero(np.asarray(row)).tolist() if marks else row.tolist()
    return set(row)


def _bits(side: Sequence[set[Any]], known: dict[Any, int], words: int) -> Tensor:
    sizes = torch.tensor([len(labels) for labels in side])
    rows = torch.arange(len(side)).repeat_interleave(sizes)
    numbers = torch.tensor([known[x] for labels in side for x in labels], dtype=torch.int64)
    bits = torch.ones_like(numbers).bitwise_left_shift(numbers % _BITS)
    table = torch.zeros(len(side), words, dtype=torch.int64)
    return table.index_put_((rows, numbers // _BITS), bits, accumulate=True)  # each bit once
