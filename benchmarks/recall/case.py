"""Recall@K, a search by FAISS and pytorch-metric-learning on the same synthetic embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kd_retrieval.recall.at_k import RecallResult, recall_at_k
from kd_retrieval.recall.knn import nearest
from kd_retrieval.recall.precision import has_fast_bfloat16, without_bfloat16

_DIRECTIONS = 32  # in which the embeddings vary, as trained ones do in few
_NOISE = 0.02  # in each of the other directions
_PEER_ROWS = 100_000  # from which on pytorch-metric-learning is left out: minutes a round
_ASKED = 1000  # queries of the check that results agree
_SPARE = 64  # neighbors beyond the largest K: positives count as none


@dataclass(frozen=True)
class Size:
    """A test set to imitate.

    Attributes:
        rows: Number of embeddings.
        size: Their size D.
        classes: Number of classes; each has at least two images.
        ks: The K to report.
        spread: Standard deviation inside a class over that of the classes' centers; it says how
            hard the set is.
    """

    rows: int
    size: int
    classes: int
    ks: tuple[int, ...]
    spread: float


_SOP = (1, 10, 100, 1000)
SIZES = {
    "tiny": Size(300, 16, 60, (1, 10), 0.7),  # to try the command
    "cub": Size(5_924, 512, 100, (1, 2, 4, 8), 1.3),
    "sop128": Size(60_502, 128, 11_316, _SOP, 0.75),
    "sop512": Size(60_502, 512, 11_316, _SOP, 0.75),
    "200k": Size(200_000, 128, 37_400, _SOP, 0.7),
    "1m": Size(1_000_000, 512, 187_000, _SOP, 0.65),
}


def synthetic(size: Size, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw embeddings of unit length, clustered by class.

    A class is a Gaussian around a center that is itself drawn from a Gaussian, in 32 random
    directions of the D; a little noise is in all of them. Classes have two images and as many more
    as chance gives them.

    Args:
        size: What to imitate.
        seed: Of the draw.

    Returns:
        Embeddings, float32 (N, D), and labels, int64 (N,), in random order.
    """
    generator = torch.Generator().manual_seed(seed)
    twice = torch.arange(size.classes).repeat(2)
    others = torch.randint(size.classes, (size.rows - len(twice),), generator=generator)
    order = torch.randperm(size.rows, generator=generator)
    labels = torch.cat([twice, others])[order]
    directions = min(_DIRECTIONS, size.size)
    axes = torch.linalg.qr(torch.randn(size.size, directions, generator=generator))[0]
    centers = torch.randn(size.classes, directions, generator=generator)
    rows = torch.empty(size.rows, size.size)
    for part, chosen in zip(rows.split(4096), labels.split(4096), strict=True):
        inner = torch.randn(len(part), directions, generator=generator)
        torch.mm(centers[chosen] + size.spread * inner, axes.T, out=part)
        part += _NOISE * torch.randn(part.shape, generator=generator)
        part /= part.norm(dim=1, keepdim=True)
    return rows, labels


class RecallCase:
    """The searches to compare, at one size.

    FAISS searches one neighbor, which is mostly the query itself: the least that a search of
    neighbors can cost. Its index is built before. pytorch-metric-learning computes precision at 1
    with its own search. Both run on the CPU only.

    Args:
        size: What to imitate.
        device: Where recall_at_k runs.
    """

    def __init__(self, size: Size, device: torch.device) -> None:
        self.size, self.device = size, device
        self.rows, self.labels = synthetic(size)
        self.on_device = self.rows.to(device)
        self.found: dict[str, Any] = {}

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return what is timed."""
        actions: dict[str, Callable[[], None]] = {"kdkit": self._kdkit}
        if has_fast_bfloat16(self.device):
            actions["kdkit without bfloat16"] = self._kdkit_without_bfloat16
        if self.device.type == "cpu":
            actions["faiss k=1"] = self._faiss()
            if self.size.rows <= _PEER_ROWS:
                actions["pytorch-metric-learning"] = self._peer()
        return actions

    def check_agreement(self) -> None:
        """Require that all that was run agrees.

        Some queries are also searched by FAISS, to compare each of them at each K. FAISS alone, at
        k=1, has no result to compare.

        Raises:
            ValueError: If two results of kdkit differ, or pytorch-metric-learning, which compares
                in float32, differs by more than a query in 10,000.
        """
        result: RecallResult = self.found["kdkit"]
        other = self.found.get("kdkit without bfloat16", result)
        if (result.recall, result.optimistic) != (other.recall, other.optimistic):
            raise ValueError(f"results must agree, but without bfloat16 they are {other}: {result}")
        ids = torch.arange(self.size.rows)
        asked = ids[:: max(1, self.size.rows // _ASKED)]
        found_at = self._found_by_faiss(asked, ids)
        if not torch.equal(found_at, result.found_at[asked]):
            row = int(asked[found_at != result.found_at[asked]][0])
            raise ValueError(f"FAISS and kdkit must agree, but do not at query {row}: {result}")
        peer = self.found.get("pytorch-metric-learning", result.recall[1])
        if abs(peer - result.recall[1]) > max(1e-4, 1 / self.size.rows):
            raise ValueError(f"R@1 must agree, but theirs is {peer} and ours {result.recall[1]}")

    def _found_by_faiss(self, asked: Tensor, ids: Tensor) -> Tensor:
        """Return the smallest K that finds a positive of each query; 0 where none does."""
        ks = torch.tensor(sorted(self.size.ks))
        count = min(int(ks[-1]) + _SPARE, len(ids) - 1)
        found = nearest(self.rows[asked], self.rows, k=count, query_ids=asked, gallery_ids=ids)
        right = self.labels[found.rows] == self.labels[asked, None]
        best = found.scores.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
        before = (~right & (found.scores >= best)).sum(dim=1)
        return torch.cat([ks, ks.new_zeros(1)])[torch.bucketize(before, ks, right=True)]

    def _kdkit(self) -> None:
        self.found["kdkit"] = recall_at_k(self.on_device, self.labels, ks=self.size.ks)

    def _kdkit_without_bfloat16(self) -> None:
        with without_bfloat16():
            self.found["kdkit without bfloat16"] = recall_at_k(
                self.on_device, self.labels, ks=self.size.ks
            )

    def _faiss(self) -> Callable[[], None]:
        import faiss

        rows: Any = self.rows.numpy()
        index = faiss.IndexFlatIP(self.size.size)
        index.add(rows)

        def search() -> None:
            index.search(rows, 1)

        return search

    def _peer(self) -> Callable[[], None]:
        from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

        calculator = AccuracyCalculator(include=("precision_at_1",), k=1)

        def calculate() -> None:
            scores = calculator.get_accuracy(self.rows, self.labels)
            self.found["pytorch-metric-learning"] = scores["precision_at_1"]

        return calculate
