"""dlib's face detector, landmarks and ResNet, read from the package face-recognition-models.

The package holds four networks. Two are opened here, by path and after a check of their SHA-256:
the five landmarks and the ResNet of 128 numbers. The predictor of 68 landmarks is never opened: the
data it was trained on excludes commercial use. The package itself is not imported, as it needs
pkg_resources. Everything is loaded on first use, once for each process.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_face.detection import Face
from kd_face.embedders import unit_rows

_PACKAGE = "face-recognition-models"
LANDMARKS = "shape_predictor_5_face_landmarks.dat"
RESNET = "dlib_face_recognition_resnet_model_v1.dat"
SHA256 = {
    LANDMARKS: "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
    RESNET: "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
}
_SMALL = 600  # pixels of the longer side: up to here the image is doubled, as faces are small
_ONE = threading.Lock()  # detector and ResNet keep what they compute in themselves
_SIDE, _PADDING = 150, 0.25  # of the crops that the ResNet was trained on


class DlibDetector:
    """dlib's frontal detector (HOG) and its five landmarks."""

    def detect(self, pixels: NDArray[Any]) -> list[Face]:
        """Return the frontal faces of at least 80 pixels (40 in a small image), largest first.

        Args:
            pixels: RGB (H, W, 3), uint8.
        """
        doublings = int(max(pixels.shape[:2]) <= _SMALL)
        with _ONE:
            detector, predictor = _detector()
            boxes, scores, _ = detector.run(np.ascontiguousarray(pixels), doublings, 0.0)
        faces = []
        for box, score in zip(boxes, scores, strict=True):
            shape = predictor(pixels, box)
            points = np.array([(part.x, part.y) for part in shape.parts()], float)
            edges = (box.left(), box.top(), box.right() + 1, box.bottom() + 1)
            faces.append(Face(tuple(map(float, edges)), points, float(score)))  # type: ignore[arg-type]
        return sorted(faces, key=lambda face: -face.size)


class DlibEmbedder:
    """dlib's ResNet of 128 numbers, by Davis King; 99.4 % on LFW by its author's own figure."""

    name = "dlib-resnet"
    version = SHA256[RESNET][:16]
    dim = 128
    threshold = 0.93  # FAR 0.1 % of the pairs of 39 people of ORL; see docs/face.md

    def crop(self, pixels: NDArray[Any], face: Face) -> NDArray[Any]:
        """Return the face as dlib cuts it, RGB (150, 150, 3), uint8.

        Args:
            pixels: RGB (H, W, 3), uint8.
            face: A face of this image, with dlib's landmarks.
        """
        import dlib

        left, top, right, bottom = (round(one) for one in face.box)
        box = dlib.rectangle(left, top, right - 1, bottom - 1)
        points = [dlib.point(round(x), round(y)) for x, y in face.landmarks]
        shape = dlib.full_object_detection(box, points)
        image = np.ascontiguousarray(pixels)
        return np.array(dlib.get_face_chip(image, shape, size=_SIDE, padding=_PADDING))

    def embed(self, crops: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return unit rows (N, 128), float32.

        Args:
            crops: N results of :meth:`crop`.
        """
        if not crops:
            return np.zeros((0, self.dim), np.float32)
        with _ONE:
            network = _resnet()
            rows = [network.compute_face_descriptor(crop) for crop in crops]
        return unit_rows(np.array(rows))


def model_file(name: str) -> Path:
    """Return the path of one of the two networks, after a check of its content.

    Args:
        name: ``LANDMARKS`` or ``RESNET``.

    Raises:
        KeyError: If it is another file of the package.
        ImportError: If the package is not installed.
        ValueError: If the file is missing or not the one that is known here.
    """
    expected = SHA256[name]
    try:
        listed = files(_PACKAGE) or []
    except PackageNotFoundError:
        raise ImportError(
            f"dlib's networks need {_PACKAGE}, which is not installed. "
            "Run: pip install 'kdkit[face]'"
        ) from None
    for entry in listed:
        if entry.name == name:
            path = Path(str(entry.locate()))
            if hashlib.sha256(path.read_bytes()).hexdigest() == expected:
                return path
    raise ValueError(
        f"{name} of {_PACKAGE} must have the SHA-256 {expected}, but it is missing or has "
        f"another. Run: pip install --force-reinstall {_PACKAGE}"
    )


@functools.lru_cache(maxsize=1)
def _detector() -> tuple[Any, Any]:
    import dlib

    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(model_file(LANDMARKS)))


@functools.lru_cache(maxsize=1)
def _resnet() -> Any:
    import dlib

    return dlib.face_recognition_model_v1(str(model_file(RESNET)))
