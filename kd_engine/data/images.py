"""Decoding of images of any kind as RGB."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

_TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")


def read_image(path: str | Path) -> Image.Image:
    """Decode an image as 8-bit RGB, turned upright as its EXIF data says.

    Gray, palette, CMYK and 1-bit images are converted; transparent parts become white; if a
    file holds several images, the first one counts.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be decoded, or is gray with more than 8 bits a value; names the
            file. (Colors of 16 bits are decoded as 8 bits by Pillow itself.)
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"the image {path} is missing.")
    try:
        with Image.open(path) as opened:
            opened.load()
            image = _rgb(ImageOps.exif_transpose(opened))
    except Exception as error:  # a broken file makes Pillow raise nearly anything
        raise ValueError(
            f"the image {path} cannot be decoded: {error}. Fetch it again, convert it, or leave "
            "it out."
        ) from error
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # Pillow would cut the values off at 255
        raise ValueError(f"an image must have 8 bits a value, but its mode is {image.mode}")
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
