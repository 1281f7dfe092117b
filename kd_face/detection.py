"""Face detection: what a detector returns, and which interface it has.

dlib's detector is in :mod:`kd_face.dlib_networks`; another one takes its place by this protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Face:
    """A face in an image.

    Args:
        box: Left, top, right, bottom in pixels; it may reach over the edge of the image.
        landmarks: Points (5, 2) in pixels, left and right as the viewer sees them: right eye's
            outer and inner corner, left eye's outer and inner corner, base of the nose.
        score: Confidence of the detector, the higher the surer; its scale is the detector's own.
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[Any]
    score: float

    @property
    def size(self) -> float:
        """Return the shorter side of the box in pixels."""
        left, top, right, bottom = self.box
        return min(right - left, bottom - top)

    @property
    def eyes(self) -> NDArray[Any]:
        """Return the centers of the left and of the right eye (2, 2), as the viewer sees them."""
        return np.stack([self.landmarks[2:4].mean(0), self.landmarks[0:2].mean(0)])


class FaceDetector(Protocol):
    """Finds faces in an image."""

    def detect(self, pixels: NDArray[Any]) -> list[Face]:
        """Return the faces, the largest first.

        Args:
            pixels: RGB (H, W, 3), uint8.
        """
        ...
