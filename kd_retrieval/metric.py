"""Recall@K as a metric of mmengine's Runner, and the base class of metrics on embeddings."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine import dist
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from numpy.typing import NDArray

from kd_retrieval.datasets import BOTH, GALLERY, QUERY
from kd_retrieval.embeddings.stored import read_key
from kd_retrieval.recall.at_k import recall_at_k
from kd_retrieval.recall.knn import ranking_scores
from kd_retrieval.search.stored_gallery import Side, read_gallery

_SHOWN = 5  # ids in a message


class EmbeddingMetric(BaseMetric):  # type: ignore[misc]
    """Base class of metrics that need the embeddings of all images at once.

    The copies with which a distributed sampler fills its last batch are removed by id.

    Args:
        prefix: Of the values' names.
        distance: ``cosine``, ``l2`` or ``dot``; under cosine no embedding may be zero.
    """

    def __init__(self, prefix: str, distance: str = "cosine") -> None:
        super().__init__(prefix=prefix)
        self.distance = distance

    @abstractmethod
    def measure(self, images: Side) -> dict[str, float]:
        """Return the values, by names without the prefix.

        Args:
            images: Embeddings, labels, ids and roles of the whole dataset, in the order of the ids.
        """

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Keep the embeddings of a batch, in float32 on the CPU."""
        for sample in data_samples:
            vector = sample["embedding"].detach().float().cpu()
            self.results.append((vector, sample["label"], int(sample["id"]), int(sample["role"])))

    def evaluate(self, size: int) -> dict[str, float]:
        """Join the ranks, leave the sampler's copies out, and measure.

        Args:
            size: Number of images of the dataset.

        Returns:
            What :meth:`measure` returns, each name after the prefix.

        Raises:
            ValueError: If images are missing, an embedding is not finite or is zero under
                cosine (names the image), or :meth:`measure` refuses them.
        """
        parts = [part for part in dist.all_gather_object(_stacked(self.results)) if part]
        self.results.clear()
        images = _without_copies(parts, size)
        _require_usable(images, self.distance)
        values = self.measure(images)
        return {f"{self.prefix}/{name}": value for name, value in values.items()}

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Not used: ``evaluate`` joins the ranks itself."""
        raise NotImplementedError


class RecallMetric(EmbeddingMetric):
    """Recall@K by the protocol of :func:`kd_retrieval.recall_at_k`.

    Where images have roles, queries are searched in the gallery, otherwise in all images but
    themselves. All ranks share the work, on a GPU if there is one.

    Args:
        ks: The K to report.
        distance: ``cosine``, ``l2`` or ``dot``.
        gallery: What ``kdkit embed`` wrote, to be searched instead of the model's own
            embeddings, such as the teacher's of the same images (asymmetric retrieval). Sizes
            must be equal and the two spaces one: train with a term whose loss ``aligns_spaces``.
            The values are then called ``asymmetric/...``.
        map_at_r: Report mean average precision at R and R-precision as well.
        allow_shared_classes: Report a score although test classes were trained on; read by the
            tools' data checks.

    Raises:
        FileNotFoundError: If there is no such gallery.
        ValueError: If it is damaged, or K or distance is wrong.
        ImportError: If FAISS is needed and not installed.
    """

    def __init__(
        self,
        ks: int | Sequence[int] = (1, 2, 4, 8),
        distance: str = "cosine",
        gallery: str | None = None,
        map_at_r: bool = False,
        allow_shared_classes: bool = False,
    ) -> None:
        super().__init__("recall" if gallery is None else "asymmetric", distance)
        if gallery is not None:
            read_key(gallery)
        self.ks = (ks,) if isinstance(ks, int) else tuple(ks)
        self.gallery = gallery
        self.map_at_r = map_at_r
        self.allow_shared_classes = allow_shared_classes
        pair: list[Any] = [torch.ones(2, 2), [0, 0]]  # wrong settings fail now, not after training
        recall_at_k(*pair, ks=self.ks, metric=distance)
        if map_at_r:
            ranking_scores(*pair, metric=distance)

    def measure(self, images: Side) -> dict[str, float]:
        """Return recall in percent for each K, counts, and in percent what else was asked for.

        ``queries`` is their number, and ``valid_queries`` that of those with a positive.

        Raises:
            ValueError: If recall_at_k refuses the images.
        """
        queries, gallery = images.select(images.roles != GALLERY), self._gallery(images)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        sides: list[Any] = [queries.vectors.to(device), queries.labels]
        options: dict[str, Any] = dict(query_ids=queries.ids, metric=self.distance)
        if gallery is not None:
            sides += [gallery.vectors.to(device), gallery.labels]
            options["gallery_ids"] = gallery.ids
        result = recall_at_k(*sides, **options, ks=self.ks, distributed=dist.is_distributed())
        print_log(str(result), "current")
        values = {f"R@{k}": 100 * share for k, share in result.recall.items()}
        if self.map_at_r:
            values |= _ranking(sides, options)
        return values | dict(valid_queries=float(result.n_valid), queries=float(result.n_queries))

    def _gallery(self, images: Side) -> Side | None:
        """Return what is searched; None where each image is searched among all others."""
        if self.gallery is not None:
            classes = (self.dataset_meta or {}).get("classes")
            return read_gallery(self.gallery, images.select(images.roles != GALLERY), classes)
        if (images.roles == BOTH).all():
            return None
        return images.select(images.roles != QUERY)


def _ranking(sides: Sequence[Any], options: Mapping[str, Any]) -> dict[str, float]:
    """Measure the scores that need neighbors, on the first rank only."""
    found: list[Any] = [None]
    if dist.is_main_process():
        scores = ranking_scores(*sides, **options)
        found = [{"MAP@R": 100 * scores.map_at_r, "R-precision": 100 * scores.r_precision}]
    dist.broadcast_object_list(found)
    values: dict[str, float] = found[0]
    return values


def _stacked(samples: list[Any]) -> tuple[Any, ...] | None:
    """Join the images of this rank; return None if it had none."""
    if not samples:
        return None
    vectors, *columns = zip(*samples, strict=True)
    return torch.stack(vectors), *map(list, columns)


def _without_copies(parts: Sequence[tuple[Any, ...]], size: int) -> Side:
    """Join the images of all ranks, each id once, in the order of their ids."""
    labels, ids, roles = ([one for part in parts for one in part[i]] for i in (1, 2, 3))
    numbers, first = np.unique(np.array(ids, dtype=np.int64), return_index=True)
    if len(numbers) != size:
        raise ValueError(
            f"the dataset has {size} images, but {len(numbers)} different ids were embedded. "
            "Ids must be unique in a dataset, and no batch may be dropped (drop_last=False)."
        )
    chosen: Any = [labels[row] for row in first]
    if not any(isinstance(label, list | tuple) for label in chosen):
        chosen = np.array(chosen, dtype=np.int64)
    vectors = torch.cat([part[0] for part in parts])[torch.from_numpy(first)]
    return Side(vectors, chosen, numbers, np.array(roles, dtype=np.int64)[first])


def _require_usable(images: Side, distance: str) -> None:
    """Require finite embeddings that have a direction, and name the image that has none."""
    finite = torch.isfinite(images.vectors).all(dim=1).numpy()
    zero = (images.vectors == 0).all(dim=1).numpy()
    if not finite.all():
        raise ValueError(
            f"embeddings must be finite, but {_some(images.ids[~finite])} of {len(finite)} images "
            "have NaN or infinity. The training diverged (lower the learning rate, clip the "
            "gradient), or the weights are damaged."
        )
    if distance == "cosine" and zero.any():
        raise ValueError(
            f"under cosine an embedding must not be zero, but {_some(images.ids[zero])} of "
            f"{len(zero)} images have a zero vector. The model is dead, or use distance='l2'."
        )


def _some(ids: NDArray[Any]) -> str:
    shown = ", ".join(str(one) for one in ids[:_SHOWN])
    return f"{len(ids)} (id {shown}{', ...' if len(ids) > _SHOWN else ''})"
