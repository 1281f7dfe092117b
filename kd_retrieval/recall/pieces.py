"""Pieces of tiles: halved, and tried again, when a GPU runs out of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from kd_retrieval.recall.ranks import warn

_LEAST = 64  # rows and columns of a piece
_Found = TypeVar("_Found")


class Pieces:
    """Size of the pieces in which a tile is computed: at first the whole tile.

    Args:
        size: Rows and columns of a tile.
        shrink: Called after each halving, to free memory.
    """

    def __init__(self, size: int, shrink: Callable[[], None]) -> None:
        self.size, self._shrink = size, shrink
        self.parts = 1  # of a tile's side

    def of(self, rows: slice, columns: slice) -> Iterator[tuple[slice, slice]]:
        """Cut a tile into pieces."""
        for part in self.cut(rows):
            for other in self.cut(columns):
                yield part, other

    def cut(self, numbers: slice) -> Iterator[slice]:
        """Cut some rows or columns into parts of at most the size of a piece."""
        for begin in range(numbers.start, numbers.stop, self.size):
            yield slice(begin, min(begin + self.size, numbers.stop))

    def run(self, count: Callable[[], _Found]) -> _Found:
        """Count something, from its beginning again with smaller pieces when memory is short.

        Args:
            count: Begins anew whenever it is called.

        Raises:
            torch.cuda.OutOfMemoryError: If the smallest pieces are too large.
        """
        while True:
            try:
                return count()
            except torch.cuda.OutOfMemoryError:
                if self.size <= _LEAST:
                    raise
            # after the handler, whose traceback held the tensors
            before, self.size = self.size, max(_LEAST, self.size // 2)
            self.parts *= 2
            self._shrink()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            warn(
                f"recall ran out of GPU memory with tiles of {before:,} rows and columns; it "
                f"continues with {self.size:,}"
            )
