"""Face verification as a metric of mmengine's Runner."""

from __future__ import annotations

from collections.abc import Sequence

from kd_face.verification import FARS, check_fars, verify
from kd_retrieval.metric import EmbeddingMetric
from kd_retrieval.search.stored_gallery import Side


class FaceVerification(EmbeddingMetric):
    """TAR at wanted FARs, EER and rank-1 of all pairs; see :func:`kd_face.verification.verify`.

    Args:
        fars: Wanted shares of impostor pairs that pass.

    Raises:
        ValueError: If one is not from 0 to below 1.
    """

    def __init__(self, fars: float | Sequence[float] = FARS) -> None:
        super().__init__("face")
        self.fars = (fars,) if isinstance(fars, float) else tuple(fars)
        check_fars(self.fars)

    def measure(self, images: Side) -> dict[str, float]:
        """Return the values; the images' classes are the people."""
        return verify(images.vectors.numpy(), images.labels, self.fars)
