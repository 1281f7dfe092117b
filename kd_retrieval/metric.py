"""Recall@K as a metric of mmengine's Runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as distributed
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from numpy.typing import NDArray
from torch import Tensor

from kd_retrieval.datasets import GALLERY, QUERY
from kd_retrieval.embeddings import read_embeddings
from kd_retrieval.recall import RecallResult, recall_at_k

Sample = tuple[Tensor, Any, int, int]  # embedding (D,), label or labels, id, role


class RecallMetric(BaseMetric):  # type: ignore[misc]
    """Recall@K by the protocol of :func:`kd_retrieval.recall_at_k`.

    The copies with which a distributed sampler fills its last batch are removed by id. Where
    images have roles, queries are searched in the gallery, otherwise in all images but
    themselves.

    Args:
        ks: The K to report.
        distance: ``cosine``, ``l2`` or ``dot``.
        backend: ``torch`` or ``faiss``; both give the same numbers.
        gallery: File of stored embeddings that are searched instead of the model's own, such as
            the teacher's of the same images (asymmetric retrieval). The model's must have the
            same size and lie in the same space: train with a term whose loss ``aligns_spaces``.
        map_at_r: Report mean average precision at R and R-precision as well.
        allow_shared_classes: Report a score although test classes were trained on; read by the
            tools' data checks.
    """

    default_prefix = "recall"

    def __init__(
        self,
        ks: Sequence[int] = (1, 2, 4, 8),
        distance: str = "cosine",
        backend: str = "torch",
        gallery: str | None = None,
        map_at_r: bool = False,
        allow_shared_classes: bool = False,
    ) -> None:
        super().__init__()
        self.ks = tuple(ks)
        self.distance = distance
        self.backend = backend
        self.gallery = gallery
        self.map_at_r = map_at_r
        self.allow_shared_classes = allow_shared_classes

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Keep the embeddings of a batch, in float32 on the CPU."""
        for sample in data_samples:
            vector = sample["embedding"].detach().float().cpu()
            self.results.append((vector, sample["label"], int(sample["id"]), int(sample["role"])))

    def evaluate(self, size: int) -> dict[str, float]:
        """Join the ranks, leave the sampler's copies out, and measure.

        Args:
            size: Number of images of the data set.

        Returns:
            ``recall/R@K`` in percent for each K, the share of images with a positive, and what
            else was asked for.

        Raises:
            ValueError: If images are missing or recall_at_k refuses the embeddings.
        """
        samples = _unique(_joined(self.results))
        self.results.clear()
        if len(samples) != size:
            raise ValueError(
                f"the data set has {size} images, but {len(samples)} different ids were embedded. "
                "Ids must be unique in a data set, and no batch may be dropped (drop_last=False)."
            )
        vectors = torch.stack([sample[0] for sample in samples])
        parts = _parts(samples)
        values = self._measure(vectors, *parts)
        return {f"{self.prefix}/{name}": value for name, value in values.items()}

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Not used: evaluate joins the ranks itself."""
        raise NotImplementedError

    def _measure(
        self, vectors: Tensor, labels: Any, ids: NDArray[Any], roles: NDArray[Any]
    ) -> dict[str, float]:
        queries = roles != GALLERY
        chosen: dict[str, Any] = {}
        if self.gallery is not None:
            stored = read_embeddings(self.gallery)
            chosen = dict(gallery=torch.from_numpy(np.array(stored.vectors)),
                          gallery_labels=stored.labels, gallery_ids=stored.ids)  # fmt: skip
        elif (roles == QUERY).any() or not queries.all():
            members = roles != QUERY
            chosen = dict(gallery=vectors[torch.from_numpy(members)],
                          gallery_labels=_pick(labels, members), gallery_ids=ids[members])  # fmt: skip
        result = recall_at_k(
            vectors[torch.from_numpy(queries)], _pick(labels, queries), **chosen, ks=self.ks,
            query_ids=ids[queries], metric=self.distance, backend=self.backend,
        )  # fmt: skip
        print_log(str(result), "current")
        return _values(result) | self._neighbours(vectors, labels, ids, chosen)

    def _neighbours(self, vectors: Tensor, labels: Any, ids: Any, chosen: Any) -> dict[str, float]:
        if not self.map_at_r:
            return {}
        raise NotImplementedError


def _values(result: RecallResult) -> dict[str, float]:
    values = {f"R@{k}": 100 * share for k, share in result.recall.items()}
    return values | {"valid_queries": float(result.n_valid), "queries": float(result.n_queries)}


def _joined(samples: list[Sample]) -> list[Sample]:
    if not (distributed.is_available() and distributed.is_initialized()):
        return list(samples)
    everything: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everything, samples)
    return [sample for part in everything for sample in part]


def _unique(samples: list[Sample]) -> list[Sample]:
    first = {sample[2]: sample for sample in reversed(samples)}
    return [first[number] for number in sorted(first)]


def _parts(samples: list[Sample]) -> tuple[Any, NDArray[Any], NDArray[Any]]:
    labels: Any = [sample[1] for sample in samples]
    if not any(isinstance(label, list | tuple) for label in labels):
        labels = np.array(labels, dtype=np.int64)
    ids, roles = (np.array([sample[i] for sample in samples], dtype=np.int64) for i in (2, 3))
    return labels, ids, roles


def _pick(labels: Any, mask: NDArray[Any]) -> Any:
    if isinstance(labels, np.ndarray):
        return labels[mask]
    return [label for label, kept in zip(labels, mask, strict=True) if kept]
