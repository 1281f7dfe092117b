"""Decoding of uploaded images: the only place where bytes from outside become pixels.

Size and format are checked before anything is decoded. What comes out carries no metadata: pixels
alone, turned as the EXIF orientation says.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from kd_face.errors import FaceError

# Pillow's names. A phone's MPO file is a JPEG with further images behind it; the first one counts.
FORMATS = ("JPEG", "PNG", "WEBP", "PPM")
_STILL = ("MPO",)
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, OverflowError)


class ImageRefused(FaceError):
    """A file is not accepted as an image."""


@dataclass(frozen=True)
class Limits:
    """Limits of one image.

    Args:
        max_bytes: Size of the file.
        max_pixels: Width times height, as the header says.
        max_side: Longer side of what is kept; larger images are scaled down.
    """

    max_bytes: int = 15 * 2**20
    max_pixels: int = 40_000_000
    max_side: int = 1600


def read_image(content: bytes, name: str, limits: Limits | None = None) -> NDArray[Any]:
    """Decode an image.

    Args:
        content: The file.
        name: Its name, for messages alone.
        limits: What is accepted.

    Returns:
        RGB pixels (H, W, 3), uint8, the longer side at most ``limits.max_side``.

    Raises:
        ImageRefused: If the file is too large, of another format, animated or broken.
    """
    limits = limits or Limits()
    if len(content) > limits.max_bytes:
        raise ImageRefused(
            f"{name} has {len(content):,} bytes, but at most {limits.max_bytes:,} are accepted. "
            "Make it smaller."
        )
    with _opened(content, name) as image:
        _check_header(image, name, limits)
        try:
            image.draft("RGB", (limits.max_side, limits.max_side))
            image.load()
            pixels = _eight_bits(ImageOps.exif_transpose(image)).convert("RGB")
        except (*_BROKEN, Image.DecompressionBombError) as error:
            raise ImageRefused(f"{name} is broken and cannot be decoded. Save it anew.") from error
    pixels.thumbnail((limits.max_side, limits.max_side), Image.Resampling.LANCZOS)
    return np.array(pixels)


def read_file(path: Path, limits: Limits | None = None) -> bytes:
    """Return the content of an image's file; one that is too large is not read.

    Args:
        path: The file.
        limits: What is accepted.

    Raises:
        ImageRefused: If it is too large.
    """
    most = (limits or Limits()).max_bytes
    with path.open("rb") as file:
        content = file.read(most + 1)  # its size may change, and a pipe has none
    if len(content) > most:
        raise ImageRefused(
            f"{path.name} has more than {most:,} bytes, which is the most that is accepted. Make "
            "it smaller."
        )
    return content


def encode_image(pixels: NDArray[Any]) -> bytes:
    """Encode pixels as the application stores them: a JPEG without metadata.

    Args:
        pixels: RGB (H, W, 3), uint8.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _opened(content: bytes, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageRefused(f"{name} has far too many pixels. Make it smaller.") from error
    except _BROKEN as error:
        raise ImageRefused(
            f"{name} must be a JPEG, PNG, WebP, PGM or PPM image, but it is not, or is broken. "
            "Save it as one of them."
        ) from error


def _check_header(image: Image.Image, name: str, limits: Limits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageRefused(
            f"{name} has {width} x {height} pixels, but at most {limits.max_pixels:,} in all are "
            "accepted. Make it smaller."
        )
    try:
        frames = getattr(image, "n_frames", 1)
    except _BROKEN as error:
        raise ImageRefused(f"{name} is broken and cannot be decoded. Save it anew.") from error
    if frames > 1 and image.format not in _STILL:
        raise ImageRefused(f"{name} is animated: {frames} frames. Save one of them.")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit gray to 8 bits; Pillow's own conversion clips it."""
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    return Image.fromarray(np.clip(values >> 8, 0, 255).astype(np.uint8))
