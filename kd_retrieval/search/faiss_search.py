"""Search of all rows of a gallery by FAISS, for candidates.

FAISS computes in float32, in an order of its own. Its similarities are approximate in the sense
of :mod:`kd_retrieval.recall.similarity`: they decide clear pairs, and the others are computed
exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd_core.packages import missing_package
from kd_retrieval.recall.similarity import Similarity

_CHUNK = 4096  # rows that are given to FAISS at once


class FlatSearch:
    """Search all rows of a gallery, one by one.

    The index takes M x D x 4 bytes.

    Args:
        similarity: Queries and gallery.

    Raises:
        ImportError: If faiss is not installed.
    """

    def __init__(self, similarity: Similarity) -> None:
        faiss = _faiss()
        self.similarity = similarity
        self.is_distance = similarity.gallery.squares is not None
        size = similarity.gallery.size
        self.index = faiss.IndexFlatL2(size) if self.is_distance else faiss.IndexFlatIP(size)
        for begin in range(0, len(similarity.gallery), _CHUNK):
            rows = similarity.gallery.at(slice(begin, begin + _CHUNK), torch.float32)
            self.index.add(rows.cpu().numpy())

    def __call__(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Find neighbors.

        Args:
            queries: Rows of the queries, int64 (Q,).
            count: How many neighbors, at most as many as the gallery has.

        Returns:
            Approximate similarities, float32 (Q, count), -inf where FAISS found nothing, and rows
            of the gallery, int64 (Q, count), 0 there. No other row's approximate similarity is
            above the least of them.
        """
        vectors = self.similarity.queries.at(queries, torch.float32).cpu().numpy()
        found, places = self.index.search(vectors, count)
        approximate, columns = torch.from_numpy(found), torch.from_numpy(places.astype(np.int64))
        if self.is_distance:
            approximate.neg_()
        missing = columns < 0
        approximate.masked_fill_(missing, -torch.inf)
        columns.masked_fill_(missing, 0)
        return approximate.to(queries.device), columns.to(queries.device)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise missing_package("this search", "faiss") from error
    return faiss
