"""Alignment of faces: the similarity transform that puts the landmarks where a network wants them.

The transform (rotation, one scale, shift; no mirroring) has the least squared distance between the
moved landmarks and the template:

    min over s > 0, R, t of  sum_i |s R p_i + t - q_i|^2

Umeyama, "Least-Squares Estimation of Transformation Parameters Between Two Point Patterns",
TPAMI 1991. In two dimensions it is a linear problem in complex numbers, which is what is solved
here: with centered points p and q, the factor a = s exp(i angle) is sum(conj(p) q) / sum(|p|^2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kd_face.detection import Face

# Corners of the eyes and base of the nose of a frontal face in an image of 112 x 112, in the order
# of Face.landmarks: round numbers, the eyes 36 pixels apart and a little above the middle.
TEMPLATE = np.array([[81.0, 52.0], [67.0, 52.0], [31.0, 52.0], [45.0, 52.0], [56.0, 79.0]])
SIDE = 112


def similarity(points: NDArray[Any], targets: NDArray[Any]) -> NDArray[Any]:
    """Return the matrix (2, 3) of the similarity that moves points to targets best.

    Args:
        points: (P, 2).
        targets: (P, 2).

    Raises:
        ValueError: If all points are the same.
    """
    p, q = _complex(points), _complex(targets)
    center_p, center_q = p.mean(), q.mean()
    energy = float(np.sum(np.abs(p - center_p) ** 2))
    if energy <= 0:
        raise ValueError("the points must differ, but all are the same. Detect the face anew.")
    factor = np.sum(np.conj(p - center_p) * (q - center_q)) / energy
    shift = center_q - factor * center_p
    return np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )


def align(pixels: NDArray[Any], face: Face, side: int = SIDE) -> NDArray[Any]:
    """Cut a face out of an image, upright and in its place.

    Args:
        pixels: RGB (H, W, 3), uint8.
        face: A face of this image.
        side: Width and height of the result in pixels.

    Returns:
        RGB (side, side, 3), uint8; black where the image ends.
    """
    forward = similarity(face.landmarks, (TEMPLATE + 0.5) * (side / SIDE) - 0.5)
    linear = np.linalg.inv(forward[:, :2])
    # Pillow asks where a pixel comes from and adds half a pixel to both by itself.
    back = np.column_stack([linear, -linear @ (forward[:, 2] + 0.5) + 0.5])
    image = Image.fromarray(pixels)
    size = (side, side)
    return np.array(
        image.transform(
            size, Image.Transform.AFFINE, back.ravel().tolist(), Image.Resampling.BICUBIC
        )
    )


def _complex(points: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(points[:, 0], float) + 1j * np.asarray(points[:, 1], float)
