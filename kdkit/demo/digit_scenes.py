"""Images of handwritten digits on textured backgrounds, with the boxes around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

_GLYPH_PIXELS = (
    96  # working size: the 8x8 source is enlarged to this before it is turned and cut out
)
_PLACE_TRIES = 30
_SHARED_AREA = 0.1  # largest share of the smaller of two boxes that the two may have in common
_EMPTY_SHARE = 0.03  # share of images without any digit


@dataclass(frozen=True)
class SceneOptions:
    """Options for the look of an image.

    Args:
        size: Width and height of the image in pixels.
        max_digits: Largest number of digits on an image; the smallest is one, apart from a few
            images left empty on purpose.
        min_side: Smallest long side of a digit's box in pixels.
        max_side: Largest long side of a digit's box in pixels.
        occlusion: Share of the digits that a bar or a patch partly covers, 0 to 1.

    Raises:
        ValueError: If a value is out of range.
    """

    size: int = 160
    max_digits: int = 6
    min_side: int = 16
    max_side: int = 64
    occlusion: float = 0.2

    def __post_init__(self) -> None:
        if self.max_digits < 1:
            raise ValueError(f"max_digits must be at least 1, but it is {self.max_digits}.")
        if not 8 <= self.min_side <= self.max_side <= self.size - 2:
            raise ValueError(
                "the sides must satisfy 8 <= min_side <= max_side <= size - 2, but min_side is "
                f"{self.min_side}, max_side {self.max_side} and size {self.size}. "
                "Make the image larger or the digits smaller."
            )
        if not 0.0 <= self.occlusion <= 1.0:
            raise ValueError(f"occlusion must lie between 0 and 1, but it is {self.occlusion}.")


@dataclass(frozen=True)
class PlacedDigit:
    """A digit on an image: its row in the source, its box (x, y, w, h), whether it is covered."""

    source: int
    box: tuple[int, int, int, int]
    occluded: bool


def draw_scene(
    digits: NDArray[Any], rng: RandomState, options: SceneOptions
) -> tuple[Image.Image, list[PlacedDigit]]:
    """Draw one image.

    Args:
        digits: Source digits (N, 8, 8), ink from 0 to 1.
        rng: Source of all randomness.
        options: Sizes and difficulty.

    Returns:
        The RGB image and the digits on it. Boxes enclose the whole digit, also its covered part,
        and stay one pixel away from the border.
    """
    canvas = _background(rng, options.size)
    placed: list[PlacedDigit] = []
    empty = rng.random_sample() < _EMPTY_SHARE
    for _ in range(0 if empty else rng.randint(1, options.max_digits + 1)):
        source = int(rng.randint(len(digits)))
        glyph = _glyph(digits[source], _side(rng, options), rng)
        box = _place(glyph, [digit.box for digit in placed], rng, options.size)
        if box is None:
            continue
        _paint(canvas, glyph, box, rng)
        occluded = bool(rng.random_sample() < options.occlusion)
        if occluded:
            canvas = _occlude(canvas, box, rng)
        placed.append(PlacedDigit(source, box, occluded))
    return _camera(canvas, rng), placed


def _side(rng: RandomState, options: SceneOptions) -> int:
    """Draw a side with a uniform logarithm, so that small digits are not rare."""
    low, high = np.log(options.min_side), np.log(options.max_side + 1)
    return min(int(np.exp(rng.uniform(low, high))), options.max_side)


def _glyph(digit: NDArray[Any], side: int, rng: RandomState) -> NDArray[Any]:
    """Return the opacity (h, w) of a digit whose longer side is exactly ``side``."""
    padded = np.pad(digit.astype(np.float32), 2)
    large = Image.fromarray(padded).resize((_GLYPH_PIXELS, _GLYPH_PIXELS), Image.Resampling.BICUBIC)
    shear = rng.uniform(-0.2, 0.2)
    matrix = (1.0, shear, -shear * _GLYPH_PIXELS / 2, 0.0, 1.0, 0.0)
    large = large.transform(large.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    large = large.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR)
    weight = rng.uniform(0.38, 0.55)  # a low threshold gives a thick stroke
    opacity = np.clip((np.asarray(large) - weight) / 0.15 + 0.5, 0.0, 1.0)
    rows, columns = np.nonzero(opacity > 0.5)
    ink = opacity[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    height, width = ink.shape[0], ink.shape[1] * rng.uniform(0.85, 1.2)
    scale = side / max(height, width)
    shape = (max(4, round(width * scale)), max(4, round(height * scale)))
    small = Image.fromarray(ink.astype(np.float32)).resize(shape, Image.Resampling.BOX)
    return np.clip(np.asarray(small), 0.0, 1.0)


def _place(
    glyph: NDArray[Any], others: Sequence[tuple[int, int, int, int]], rng: RandomState, size: int
) -> tuple[int, int, int, int] | None:
    """Find a place that hardly overlaps the others, or None when there is no room."""
    height, width = glyph.shape
    for _ in range(_PLACE_TRIES):
        box = (int(rng.randint(1, size - width)), int(rng.randint(1, size - height)), width, height)
        if all(_shared(box, other) <= _SHARED_AREA for other in others):
            return box
    return None


def _shared(one: tuple[int, int, int, int], two: tuple[int, int, int, int]) -> float:
    """Return the common area of two boxes as a share of the smaller box."""
    width = min(one[0] + one[2], two[0] + two[2]) - max(one[0], two[0])
    height = min(one[1] + one[3], two[1] + two[3]) - max(one[1], two[1])
    return max(width, 0) * max(height, 0) / min(one[2] * one[3], two[2] * two[3])


def _paint(
    canvas: Image.Image, glyph: NDArray[Any], box: tuple[int, int, int, int], rng: RandomState
) -> None:
    x, y, width, height = box
    local = np.asarray(canvas.crop((x, y, x + width, y + height))).reshape(-1, 3).mean(axis=0)
    ink = Image.new("RGB", (width, height), _contrasting(local, rng))
    if rng.random_sample() < 0.4:  # two-colored ink
        ramp = Image.linear_gradient("L").resize((width, height))
        ink = Image.composite(Image.new("RGB", ink.size, _contrasting(local, rng)), ink, ramp)
    mask = Image.fromarray((glyph * rng.uniform(215, 255)).astype(np.uint8))
    if rng.random_sample() < 0.25:  # a faint shadow
        shade = Image.new("RGB", ink.size, _color(rng))
        offset = max(1, min(width, height) // 12)
        canvas.paste(shade, (x + offset, y + offset), mask.point(lambda value: value // 2))
    canvas.paste(ink, (x, y), mask)


def _occlude(canvas: Image.Image, box: tuple[int, int, int, int], rng: RandomState) -> Image.Image:
    """Cover part of a box, about a fifth of it, by a bar across it or by a patch at a corner."""
    x, y, width, height = box
    draw = ImageDraw.Draw(canvas)
    if rng.random_sample() < 0.5:
        thickness = max(2, round(rng.uniform(0.12, 0.22) * max(width, height)))
        center = np.array([x + width / 2, y + height / 2]) + rng.uniform(-0.25, 0.25, 2) * (
            width,
            height,
        )
        angle, reach = rng.uniform(0, np.pi), 0.75 * max(width, height)
        step = reach * np.array([np.cos(angle), np.sin(angle)])
        ends = [tuple(np.round(center + sign * step).tolist()) for sign in (-1, 1)]
        draw.line(ends, fill=_color(rng), width=thickness)
        return canvas
    w, h = (max(3, round(rng.uniform(0.35, 0.55) * side)) for side in (width, height))
    left = x - w // 4 if rng.random_sample() < 0.5 else x + width - 3 * w // 4
    top = y - h // 4 if rng.random_sample() < 0.5 else y + height - 3 * h // 4
    shape = draw.rectangle if rng.random_sample() < 0.6 else draw.ellipse
    shape((left, top, left + w, top + h), fill=_color(rng))
    return canvas


def _camera(canvas: Image.Image, rng: RandomState) -> Image.Image:
    """Blur now and then, and add sensor noise."""
    if rng.random_sample() < 0.25:
        canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    noise = rng.normal(0.0, rng.uniform(1.0, 9.0), (canvas.height, canvas.width, 3))
    return _image(np.asarray(canvas, dtype=np.float64) + noise)


def _background(rng: RandomState, size: int) -> Image.Image:
    first, second = (np.array(_color(rng), dtype=np.float64) for _ in range(2))
    blend = _TEXTURES[rng.randint(len(_TEXTURES))](rng, size)[..., None]  # (size, size, 1)
    blend = blend * rng.uniform(0.3, 0.9)  # two colors that differ less leave room for the digits
    canvas = _image(first * (1 - blend) + second * blend + 20 * _noise(rng, size)[..., None] - 10)
    if rng.random_sample() < 0.6:
        _clutter(canvas, rng)
    return canvas


def _gradient(rng: RandomState, size: int) -> NDArray[Any]:
    rows, columns = np.mgrid[0:size, 0:size] / size
    angle = rng.uniform(0, 2 * np.pi)
    ramp = columns * np.cos(angle) + rows * np.sin(angle)
    return np.asarray((ramp - ramp.min()) / (ramp.max() - ramp.min()))


def _noise(rng: RandomState, size: int) -> NDArray[Any]:
    """Sum smooth noise of several grains, coarse ones strongest."""
    total = np.zeros((size, size))
    for cells in (3, 6, 12, 24, 48):
        grid = Image.fromarray(rng.random_sample((cells, cells)).astype(np.float32))
        grown = np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)
        total += grown / cells**0.7
    return np.asarray((total - total.min()) / (total.max() - total.min()))


def _stripes(rng: RandomState, size: int) -> NDArray[Any]:
    wave = np.sin(_gradient(rng, size) * 2 * np.pi * rng.uniform(3, 16) + 2 * _noise(rng, size))
    return np.asarray(np.clip(wave * rng.uniform(0.7, 4.0), -1, 1) / 2 + 0.5)


def _checks(rng: RandomState, size: int) -> NDArray[Any]:
    rows, columns = np.mgrid[0:size, 0:size]
    tilt, side = rng.uniform(-0.4, 0.4), rng.uniform(8, 28)
    board = np.floor((columns + tilt * rows) / side) + np.floor((rows - tilt * columns) / side)
    return np.asarray(board % 2)


def _rings(rng: RandomState, size: int) -> NDArray[Any]:
    rows, columns = np.mgrid[0:size, 0:size] / size
    center = rng.uniform(-0.3, 1.3, 2)
    radius = np.hypot(rows - center[0], columns - center[1])
    return np.asarray(np.sin(radius * 2 * np.pi * rng.uniform(3, 12)) / 2 + 0.5)


_TEXTURES: tuple[Callable[[RandomState, int], NDArray[Any]], ...] = (
    _gradient,
    _noise,
    _stripes,
    _checks,
    _rings,
)


def _clutter(canvas: Image.Image, rng: RandomState) -> None:
    """Scatter strokes, arcs and blobs that have a digit's thickness but are none."""
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.randint(3, 13)):
        x, y = rng.uniform(0, canvas.width, 2)
        w, h = rng.uniform(0.04, 0.25, 2) * canvas.width
        box, thickness = (x - w, y - h, x + w, y + h), int(rng.randint(1, 6))
        kind = rng.randint(4)
        if kind == 0:
            draw.line((x - w, y - h, x + w, y + rng.uniform(-h, h)), _color(rng), thickness)
        elif kind == 1:
            start = rng.uniform(0, 360)
            draw.arc(box, start, start + rng.uniform(30, 160), _color(rng), thickness)
        elif kind == 2:
            draw.ellipse((x - w / 3, y - h / 3, x + w / 3, y + h / 3), _color(rng))
        else:
            points = rng.uniform(-0.5, 0.5, (3, 2)) * (w, h) + (x, y)
            draw.polygon([tuple(point) for point in points.tolist()], _color(rng))


def _contrasting(local: NDArray[Any], rng: RandomState) -> tuple[int, int, int]:
    """Draw a color whose brightness differs visibly from the mean color of a place."""
    brightness = np.array([0.299, 0.587, 0.114])
    for _ in range(40):
        color = _color(rng)
        if abs(float(brightness @ (np.array(color) - local))) > 70:
            return color
    return (255, 255, 255) if float(brightness @ local) < 128 else (0, 0, 0)


def _color(rng: RandomState) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in rng.randint(0, 256, 3))
    return red, green, blue


def _image(pixels: NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))
