"""Quality gate of pictures that are to become examples of a person.

The limits are round numbers, not fitted to data: a picture that passes is not yet a good one, and
one that fails is refused with the reason in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kd_face.detection import Face

_SIDE = 64  # pixels at which the sharpness is measured, so that it does not depend on the size


@dataclass(frozen=True)
class Gate:
    """Limits of the quality gate.

    Args:
        min_size: Shorter side of the face's box in pixels.
        min_sharpness: Variance of the Laplacian of the face at 64 x 64 pixels, gray 0 to 255.
        max_roll: Angle of the line between the eyes, in degrees.
        max_yaw: Distance of the nose from the middle between the eyes, along their line, as a
            share of the distance of the eyes: 0 is frontal.
    """

    min_size: float = 60.0
    min_sharpness: float = 20.0
    max_roll: float = 30.0
    max_yaw: float = 0.35

    def reasons(self, pixels: NDArray[Any], faces: Sequence[Face]) -> list[str]:
        """Return why a picture is refused; empty if it is accepted.

        Args:
            pixels: RGB (H, W, 3), uint8.
            faces: All faces that were found in it.
        """
        if not faces:
            return ["no face was found: use a frontal picture with even light"]
        if len(faces) > 1:
            return [f"{len(faces)} faces were found: cut out the one that is meant"]
        (face,) = faces
        found = []
        if face.size < self.min_size:
            found.append(
                f"the face is too small: {face.size:.0f} pixels, at least {self.min_size:.0f}"
            )
        if (sharp := sharpness(pixels, face)) < self.min_sharpness:
            found.append(f"the face is blurred: {sharp:.0f}, at least {self.min_sharpness:.0f}")
        roll, yaw = pose(face)
        if abs(roll) > self.max_roll:
            found.append(
                f"the head is tilted: {abs(roll):.0f} degrees, at most {self.max_roll:.0f}"
            )
        if abs(yaw) > self.max_yaw:
            found.append(
                f"the head is turned aside: {abs(yaw):.2f} of the distance of the eyes, "
                f"at most {self.max_yaw:.2f}"
            )
        return found


def sharpness(pixels: NDArray[Any], face: Face) -> float:
    """Return the variance of the Laplacian of a face at 64 x 64 pixels.

    Args:
        pixels: RGB (H, W, 3), uint8.
        face: A face of this image.
    """
    box = tuple(round(one) for one in face.box)
    crop = Image.fromarray(pixels).crop(box).convert("L")  # type: ignore[arg-type]
    gray = np.asarray(crop.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR), dtype=float)
    inner = gray[1:-1, 1:-1]
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * inner
    return float(laplacian.var())


def pose(face: Face) -> tuple[float, float]:
    """Return roll in degrees and yaw as a share of the distance of the eyes; both 0 if frontal.

    Args:
        face: Its landmarks are used.
    """
    left, right = face.eyes
    line = right - left
    length = max(float(np.hypot(*line)), 1e-6)
    roll = float(np.degrees(np.arctan2(line[1], line[0])))
    aside = float((face.landmarks[4] - (left + right) / 2) @ line) / length**2
    return roll, aside
