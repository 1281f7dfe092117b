"""Headers of image files, and how mmdet's loader interprets them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kd_det.checks.report import ImageEntry

_ORIENTATION = 0x0112  # the EXIF tag
_SIDEWAYS = (5, 6, 7, 8)  # its values that exchange width and height


@dataclass(frozen=True)
class ImageLoading:
    """Settings with which a pipeline's ``LoadImageFromFile`` decodes images.

    Attributes:
        color_type: Its flag; ``color`` and ``grayscale`` turn images as their EXIF tag says.
        backend: ``cv2``, ``pillow``, ``turbojpeg`` or ``tifffile``; the last two never turn.
    """

    color_type: str = "color"
    backend: str = "cv2"

    @property
    def turns(self) -> bool:
        """Whether JPEGs are turned as their EXIF tag says."""
        return self.color_type in ("color", "grayscale") and self.backend in ("cv2", "pillow")

    def read(self, file: str, unchanged: bool = False) -> NDArray[Any] | None:
        """Decode an image as mmdet does, or with the values that the file has.

        Args:
            file: The image.
            unchanged: Keep the values.

        Returns:
            The image (H, W) or (H, W, 3), or None if it cannot be decoded.
        """
        import mmcv  # slow to import, so only here

        try:
            if unchanged:
                image = mmcv.imread(file, "unchanged", backend="cv2")
            else:
                image = mmcv.imread(file, self.color_type, backend=self.backend)
        except Exception:  # OpenCV, Pillow and their codecs raise nearly anything
            return None
        return None if image is None else np.asarray(image)


@dataclass(frozen=True)
class ImageHeader:
    """The header of an image file.

    Attributes:
        entry: The image as the annotations describe it.
        size: Width and height as stored.
        orientation: Value of the EXIF tag, 1 (upright) where there is none.
        kind: Format, such as ``JPEG``.
        mode: Pillow's mode.
        deep: Whether its values have 16 bits.
    """

    entry: ImageEntry
    size: tuple[int, int]
    orientation: int
    kind: str
    mode: str
    deep: bool

    @property
    def sideways(self) -> bool:
        """Whether turning the image upright exchanges its width and height."""
        return self.orientation in _SIDEWAYS

    def loaded_size(self, loading: ImageLoading) -> tuple[int, int]:
        """Return width and height as mmdet loads the image.

        A JPEG's header is enough. A turned image of another format is decoded, because libraries
        and their versions differ: OpenCV 4.12 turns PNG and TIFF, but not WebP.
        """
        if not self.sideways:
            return self.size
        if self.kind in ("JPEG", "MPO"):
            return self.size[::-1] if loading.turns else self.size
        image = loading.read(self.entry.file)
        return self.size if image is None else (image.shape[1], image.shape[0])


def read_header(entry: ImageEntry) -> ImageHeader | None:
    """Read the header of an image file, without decoding it.

    Returns:
        The header, or None if Pillow does not read it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(entry.file) as image:
                orientation = _exif_of(image).get(_ORIENTATION, 1)
                tiles = str([tile[3] for tile in image.tile])  # such as "RGB;16B"
                return ImageHeader(
                    entry=entry,
                    size=image.size,
                    orientation=orientation if isinstance(orientation, int) else 1,
                    kind=image.format or "",
                    mode=image.mode,
                    deep=";16" in tiles or image.mode.startswith("I;16"),
                )
    except Exception:  # a broken file makes Pillow raise nearly anything; decoding tells more
        return None


def loading_of(pipeline: Any) -> ImageLoading:
    """Return how a pipeline loads images; mmdet's default where it does not say.

    Args:
        pipeline: Configs of transforms.
    """
    for transform in pipeline or ():
        kind = transform.get("type") if isinstance(transform, Mapping) else None
        if str(getattr(kind, "__name__", kind)).endswith("LoadImageFromFile"):
            return ImageLoading(
                transform.get("color_type", "color"), transform.get("imdecode_backend", "cv2")
            )
    return ImageLoading()


def _exif_of(image: Image.Image) -> Image.Exif:
    """Read only EXIF data, as OpenCV does; Pillow's getexif decodes a PNG and reads XMP too."""
    if image.format == "TIFF":
        return image.getexif()
    exif = Image.Exif()
    exif.load(image.info.get("exif") or b"")
    return exif
