"""Embedders of faces: networks that turn a face into a row of unit length.

Rows of one embedder and version form a space. Spaces never mix: every stored row belongs to one
model version, and is only ever compared with rows of the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kd_face.detection import Face


class FaceEmbedder(Protocol):
    """A network that embeds faces; similarity of two rows is their inner product.

    Attributes:
        name: Such as "dlib-resnet".
        version: Hash of the weights: other weights are another space.
        dim: Length of a row, D.
        threshold: Least similarity of one person's faces until the gallery is calibrated.
    """

    name: str
    version: str
    dim: int
    threshold: float

    def crop(self, pixels: NDArray[Any], face: Face) -> NDArray[Any]:
        """Return the face as the network wants it, RGB (side, side, 3), uint8.

        Args:
            pixels: RGB (H, W, 3), uint8.
            face: A face of this image.
        """
        ...

    def embed(self, crops: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return unit rows (N, D), float32.

        Args:
            crops: N results of :meth:`crop`.
        """
        ...


def unit_rows(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows (N, D) scaled to unit length, float32.

    Raises:
        ValueError: If a row is zero or not finite.
    """
    rows = np.asarray(rows, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths <= 0).any():
        raise ValueError("embeddings must be finite and not zero, but some are. Check the network.")
    return np.asarray(rows / lengths, np.float32)
