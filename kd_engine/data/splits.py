"""Splits of a dataset: their names, and parts that have every class in the same proportion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

SPLITS = ("train", "val", "trainval", "test")
_PARTS = ("train", "val", "test")


def check_split(split: str, splits: Sequence[str] = SPLITS) -> None:
    """Require a split that a dataset has.

    Args:
        split: Its name.
        splits: The splits that exist.

    Raises:
        ValueError: If the dataset does not have it.
    """
    if split not in splits:
        raise ValueError(f"split must be one of {', '.join(splits)}, but it is {split!r}.")


def split_inside_classes(
    labels: NDArray[np.int64], shares: tuple[float, float, float], seed: int = 0
) -> dict[str, NDArray[np.int64]]:
    """Divide rows into train, val and test, each class separately.

    The rows of a class are shuffled by NumPy's ``RandomState(seed)``, one class after another;
    the first share is train, the next val, the rest test. The same labels, shares and seed give
    the same parts everywhere.

    Args:
        labels: Class of each row, int64 (n,).
        shares: Shares of train, val and test; they sum to one.
        seed: Decides which row goes where.

    Returns:
        ``train``, ``val`` and ``test``: rows, int64, ordered by class.

    Raises:
        ValueError: If the shares are negative or do not sum to one.

    Example:
        >>> parts = split_inside_classes(np.array([0] * 10 + [1] * 20), (0.5, 0.3, 0.2))
        >>> [len(rows) for rows in parts.values()]
        [15, 9, 6]
    """
    if min(shares) < 0 or abs(sum(shares) - 1.0) > 1e-9:
        raise ValueError(
            f"shares must be three numbers from 0 that sum to 1, but they are {shares}."
        )
    rng = RandomState(seed)
    rows: dict[str, list[NDArray[np.int64]]] = {part: [] for part in _PARTS}
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        cuts = np.round(np.cumsum(shares[:2]) * len(members)).astype(int)
        for part, chosen in zip(_PARTS, np.split(members, cuts), strict=True):
            rows[part].append(chosen)
    return {part: np.concatenate(chosen).astype(np.int64) for part, chosen in rows.items()}


def rows_of_split(
    labels: NDArray[np.int64], split: str, shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
) -> NDArray[np.int64]:
    """Return the rows of a split by :func:`split_inside_classes` with seed 0, in order.

    Args:
        labels: Class of each row, int64 (n,).
        split: ``train``, ``val``, ``trainval`` or ``test``.
        shares: Shares of train, val and test; they sum to one.

    Raises:
        ValueError: If it is another split.
    """
    check_split(split)
    parts = split_inside_classes(labels, shares)
    chosen = ("train", "val") if split == "trainval" else (split,)
    return np.sort(np.concatenate([parts[part] for part in chosen]))
