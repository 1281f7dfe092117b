"""Check of an ONNX export: it is compared with the original, image by image and in recall."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from kd_engine.doctor.probe import normalized, random_images
from kd_retrieval.datasets import GALLERY, QUERY
from kd_retrieval.embeddings.embed import open_dataset, stack
from kd_retrieval.onnx_export import OnnxEmbedder, require_close
from kd_retrieval.recall.at_k import recall_at_k

_KS = (1, 2, 4, 8)
_RECALL = 1e-3  # one query in a thousand may have two neighbors at the same distance
Pair = tuple[NDArray[Any], NDArray[Any]]  # embeddings (N, D) by the original and the exported
_ODD = (1, 3)  # batch sizes that were not exported with


@dataclass(frozen=True)
class OnnxReport:
    """Report on the comparison of an exported network with its original.

    Attributes:
        images: Number of images.
        source: Where they come from.
        difference: Largest difference in a component of an embedding.
        cosine: Smallest cosine between two embeddings of an image.
        recall: K to recall@K of the original and of the exported network; empty for random images.
    """

    images: int
    source: str
    difference: float
    cosine: float
    recall: dict[int, tuple[float, float]]

    def __str__(self) -> str:
        """Return one line, and one more for each K."""
        lines = [
            f"{self.images} {self.source}: largest difference {self.difference:.2g}, smallest "
            f"cosine {self.cosine:.7f}"
        ]
        for k, (original, exported) in self.recall.items():
            lines.append(f"recall@{k}  original {original:.4f}  exported {exported:.4f}")
        return "\n".join(lines)


class OnnxCheck:
    """Comparison of both networks on the same images.

    Args:
        model: The original, in eval mode on the CPU.
        path: The ONNX file.
        size: Height and width that it takes; images of another size are resized for both.
        preprocessing: Whether the file normalizes images itself.
    """

    def __init__(
        self, model: nn.Module, path: str | Path, size: tuple[int, int], preprocessing: bool = True
    ) -> None:
        self.model = model.cpu().eval()
        self.exported = OnnxEmbedder(path)
        self.size = size
        self.preprocessing = preprocessing

    def on_random_images(self) -> OnnxReport:
        """Compare on noise, in batches of 1 and 3.

        Raises:
            ValueError: If an embedding differs by more than 1e-4.
        """
        pairs = [self.both(random_images(count, self.size)) for count in _ODD]
        return _report(*_joined(pairs), "random images", {})

    def on_test_data(self, config: Config, limit: int | None = None, batch: int = 32) -> OnnxReport:
        """Compare on the test data, with recall@K.

        Args:
            config: The config of the run.
            limit: Use this many images, evenly spread; None uses all.
            batch: Number of images that run together.

        Raises:
            FileNotFoundError: If the data is missing.
            ValueError: If an embedding differs by more than 1e-4, or recall by more than 0.001.
        """
        data = open_dataset(config, "test")
        count = min(limit or len(data), len(data))
        chosen = np.linspace(0, len(data) - 1, count).round().astype(np.int64)
        loader = DataLoader(Subset(data, chosen.tolist()), batch, collate_fn=stack)
        pairs = [self.both(one["inputs"], i * batch) for i, one in enumerate(loader)]
        original, exported = _joined(pairs)
        try:
            theirs, ours = _recall(data, chosen, original), _recall(data, chosen, exported)
        except ValueError as error:
            if count == len(data):
                raise
            raise ValueError(f"{error} Take more than {count} images: --limit.") from error
        recall = {k: (theirs[k], ours[k]) for k in theirs}
        for k, (one, other) in recall.items():
            if abs(one - other) > _RECALL:
                raise ValueError(
                    f"the exported network must have the original's recall@{k} {one:.4f}, but it "
                    f"has {other:.4f}. It is not to be used; or the original's embeddings of "
                    "different images are so alike that rounding decides which are near."
                )
        return _report(original, exported, "images of the test data", recall)

    def both(self, images: Tensor, start: int = 0) -> Pair:
        """Embed images uint8 (N, 3, H, W) with the original and with the exported network."""
        if tuple(images.shape[2:]) != self.size:
            images = nn.functional.interpolate(images.float(), self.size, mode="bilinear")
            images = images.round().to(torch.uint8)
        with torch.no_grad():
            inputs = normalized(self.model, images)
            original: NDArray[Any] = self.model(inputs, mode="tensor").float().numpy()
        given = images.float() if self.preprocessing else inputs
        exported = self.exported(given.numpy())
        require_close(exported, original, start)
        return original, exported


def _joined(pairs: list[Pair]) -> Pair:
    return np.concatenate([one for one, _ in pairs]), np.concatenate([other for _, other in pairs])


def _report(
    original: NDArray[Any],
    exported: NDArray[Any],
    source: str,
    recall: dict[int, tuple[float, float]],
) -> OnnxReport:
    lengths = np.linalg.norm(original, axis=1) * np.linalg.norm(exported, axis=1)
    cosine = (original * exported).sum(axis=1) / np.maximum(lengths, 1e-12)
    difference = require_close(exported, original)
    return OnnxReport(len(original), source, difference, float(cosine.min()), recall)


def _recall(data: Any, chosen: NDArray[Any], vectors: NDArray[Any]) -> dict[int, float]:
    """Measure recall@K of some images of a dataset; images may have several classes."""
    roles, ids = np.asarray(data.roles)[chosen], np.asarray(data.ids)[chosen]
    asked, members = np.flatnonzero(roles != GALLERY), np.flatnonzero(roles != QUERY)
    gallery: dict[str, Any] = {}
    if len(asked) < len(chosen) or len(members) < len(chosen):
        gallery = dict(
            gallery=vectors[members],
            gallery_labels=_labels(data, chosen[members]),
            gallery_ids=ids[members],
        )
    labels = _labels(data, chosen[asked])
    result = recall_at_k(vectors[asked], labels, **gallery, ks=_KS, query_ids=ids[asked])
    return {int(k): float(share) for k, share in result.recall.items()}


def _labels(data: Any, rows: NDArray[Any]) -> Any:
    labels = [data.labels[row] for row in rows]
    return labels if any(np.ndim(label) for label in labels) else np.array(labels, dtype=np.int64)
