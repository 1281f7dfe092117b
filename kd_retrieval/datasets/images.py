"""Decode images of any kind as RGB."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

_WIDE = ("I", "F", "I;16", "I;16L", "I;16B")  # more than 8 bits a value


def read_image(path: str | Path) -> Image.Image:
    """Decode an image as 8-bit RGB, turned upright as its EXIF data says.

    Grey, palette, CMYK and 1-bit images are converted; transparent parts become white.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be decoded or has more than 8 bits a value; names the file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"the image {path} is missing.")
    try:
        with Image.open(path) as opened:
            opened.load()
            image = ImageOps.exif_transpose(opened)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"the image {path} cannot be decoded: {error}. Fetch it again or leave it out."
        ) from error
    if image.mode in _WIDE:
        raise ValueError(
            f"an image must have 8 bits a value, but {path} has mode {image.mode}. Convert it."
        )
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
