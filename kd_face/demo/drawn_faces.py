"""Drawn faces: people who do not exist, for a demonstration without pictures of anybody.

A person is a set of colors and lengths, and a picture of it a pose, expression, background and
light; both are drawn from numbers by chance, so that the same numbers give the same picture. dlib's
frontal detector finds most of them. They are cartoons: error rates that are measured on them say
nothing about photographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

SIDE = 240  # pixels; lengths below are of an image of this size
_SCALE = 2  # drawn larger and scaled down, which smooths the edges
_SEED = 7
_SKINS = ((236, 200, 172), (224, 178, 140), (198, 146, 108), (150, 104, 74), (112, 76, 54))
_HAIRS = ((40, 30, 24), (90, 60, 35), (170, 130, 70), (20, 18, 20), (120, 50, 30), (150, 150, 150))
_IRISES = ((60, 90, 130), (80, 60, 40), (70, 110, 80), (50, 40, 30))
_BALD, _SHORT, _LONG = range(3)

Color = Any  # three numbers, not clipped yet
Spot = tuple[float, float, float, float, int]  # x, y, half width, half height, opacity


@dataclass(frozen=True)
class _Person:
    skin: NDArray[Any]
    hair: NDArray[Any]
    iris: tuple[int, ...]
    style: int
    hairline: float
    half: tuple[float, float]  # width and height of the head
    eye: tuple[float, float, float, float]  # distance from the middle, y, half width and height
    brow: tuple[float, float, float]  # height over the eye, thickness, tilt
    nose: tuple[float, float]  # length, half width
    mouth: tuple[float, float, float]  # y, half width, lip
    has_beard: bool
    has_glasses: bool


@dataclass(frozen=True)
class _Shot:
    center: tuple[float, float]
    background: NDArray[Any]
    shirt: NDArray[Any]
    smile: float
    opened: float
    blink: float
    gaze: float
    roll: float
    light: tuple[float, float, float]  # strength, slope, angle
    noise: int  # seed


def drawn_face(person: int, picture: int) -> NDArray[Any]:
    """Return a picture of a person.

    Args:
        person: Number of the person, from 0.
        picture: Number of the picture, from 0.

    Returns:
        RGB (240, 240, 3), uint8.
    """
    who, shot = _person(person), _shot(person, picture)
    canvas = _Canvas(shot)
    _draw_body(canvas, who, shot)
    _draw_head(canvas, who)
    _draw_light(canvas, who)
    if who.has_beard:
        y = who.mouth[0] + 20
        canvas.soft(who.hair * 0.8, [(0, y, who.half[0] * 0.8, 34, 120)], 4)
    for side in (-1, 1):
        _draw_eye(canvas, who, shot, side)
    _draw_mouth(canvas, who, shot)
    if who.has_glasses:
        _draw_glasses(canvas, who)
    return _photographed(canvas, shot)


def _person(number: int) -> _Person:
    random = np.random.default_rng((_SEED, number))
    among = random.uniform
    return _Person(
        skin=np.array(_SKINS[number % len(_SKINS)]) + random.normal(0, 5, 3),
        hair=np.array(random.choice(_HAIRS), float),
        iris=tuple(random.choice(_IRISES).tolist()),
        style=int(random.integers(3)),
        hairline=among(0.45, 0.7),
        half=(among(52, 62), among(72, 84)),
        eye=(among(24, 29), among(-14, -8), among(11, 14), among(5.5, 7.5)),
        brow=(among(13, 18), among(3, 6), among(-2, 4)),
        nose=(among(24, 32), among(9, 14)),
        mouth=(among(42, 50), among(19, 27), among(4, 7.5)),
        has_beard=random.random() < 0.2,
        has_glasses=random.random() < 0.3,
    )


def _shot(person: int, picture: int) -> _Shot:
    random = np.random.default_rng((_SEED, person, picture))
    among = random.uniform
    return _Shot(
        center=(120 + among(-6, 6), 124 + among(-6, 6)),
        background=among(90, 190, 3),
        shirt=among(40, 200, 3),
        smile=among(-3, 7),
        opened=among(0, 4),
        blink=among(0.75, 1.1),
        gaze=among(-2, 2),
        roll=among(-7, 7),
        light=(among(0.85, 1.05), among(0, 0.25), among(0, 2 * np.pi)),
        noise=int(random.integers(2**31)),
    )


class _Canvas:
    """Drawing in lengths of the final image, from the middle of the face."""

    def __init__(self, shot: _Shot):
        side = SIDE * _SCALE
        self.image = Image.new("RGB", (side, side), _color(shot.background))
        self._draw, self._center = ImageDraw.Draw(self.image), shot.center

    def ellipse(self, at: tuple[float, float], half: tuple[float, float], color: Color) -> None:
        self._draw.ellipse(self._box(*at, *half), fill=_color(color))

    def ring(self, at: tuple[float, float], half: tuple[float, float], color: Color) -> None:
        self._draw.ellipse(self._box(*at, *half), outline=_color(color), width=2 * _SCALE)

    def arc(self, at: tuple[float, float], half: tuple[float, float], color: Color) -> None:
        self._draw.arc(self._box(*at, *half), 30, 150, fill=_color(color), width=_SCALE + 1)

    def line(self, points: Any, color: Color, width: float) -> None:
        places = [self._place(*point) for point in points]
        self._draw.line(places, fill=_color(color), width=round(width * _SCALE), joint="curve")

    def polygon(self, points: Any, color: Color) -> None:
        self._draw.polygon([self._place(*point) for point in points], fill=_color(color))

    def soft(self, color: Color, spots: list[Spot], blur: float) -> None:
        """Paint ellipses with soft edges."""
        mask = Image.new("L", self.image.size)
        draw = ImageDraw.Draw(mask)
        for *box, opacity in spots:
            draw.ellipse(self._box(*box), fill=opacity)
        mask = mask.filter(ImageFilter.GaussianBlur(blur * _SCALE))
        self.image.paste(_color(color), mask=mask)

    def cap(self, outer: tuple[float, ...], inner: tuple[float, ...], color: Color) -> None:
        """Fill an ellipse but for another one."""
        mask = Image.new("L", self.image.size)
        draw = ImageDraw.Draw(mask)
        draw.ellipse(self._box(*outer), fill=255)
        draw.ellipse(self._box(*inner), fill=0)
        self.image.paste(_color(color), mask=mask)

    def _place(self, x: float, y: float) -> tuple[float, float]:
        return (self._center[0] + x) * _SCALE, (self._center[1] + y) * _SCALE

    def _box(self, x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
        return [self._place(x - width, y - height), self._place(x + width, y + height)]


def _draw_body(canvas: _Canvas, who: _Person, shot: _Shot) -> None:
    wide, tall = who.half
    if who.style != _BALD:
        canvas.ellipse((0, -10), (wide + 8, tall + 5), who.hair)
    if who.style == _LONG:
        canvas.ellipse((0, 35), (wide + 12, 62), who.hair)
    canvas.polygon([(-24, 50), (24, 50), (24, 110), (-24, 110)], who.skin * 0.78)
    canvas.ellipse((0, 150), (90, 58), shot.shirt)


def _draw_head(canvas: _Canvas, who: _Person) -> None:
    wide, tall = who.half
    for side in (-1, 1):
        canvas.ellipse((side * wide, 0), (8, 14), who.skin * 0.9)
    canvas.ellipse((0, 0), who.half, who.skin)
    if who.style != _BALD:
        low = tall * (2 - who.hairline) / 2
        inner = (0.0, low, wide * 1.02, tall * (2 + who.hairline) / 2)
        canvas.cap((0, -3, wide + 3, tall + 3), inner, who.hair)


def _draw_light(canvas: _Canvas, who: _Person) -> None:
    distance, y, width, height = who.eye
    length, nose = who.nose
    dark: list[Spot] = [(0, y + length + 6, nose + 3, 6, 80), (0, who.mouth[0] + 15, 16, 5, 60)]
    bright: list[Spot] = [(0, y + length * 0.4, 4, length * 0.6, 120), (0, -36, 26, 12, 70)]
    for side in (-1, 1):
        dark.append((side * distance, y - 3, width + 6, height + 8, 90))
        dark.append((side * (who.half[0] - 6), 20, 14, 40, 50))
        bright.append((side * 30, 22, 12, 9, 80))
        canvas.ellipse((side * nose * 0.55, y + length + 1), (3, 2.2), who.skin * 0.3)
    canvas.soft(who.skin * 0.45, dark, 5)
    canvas.soft(who.skin * 1.15 + 10, bright, 5)
    canvas.arc((0, y + length - 2), (nose, 8), who.skin * 0.55)


def _draw_eye(canvas: _Canvas, who: _Person, shot: _Shot, side: int) -> None:
    distance, y, width, full = who.eye
    x, height = side * distance, full * shot.blink
    canvas.ellipse((x, y), (width + 1.5, height + 1.6), who.skin * 0.35)
    canvas.ellipse((x, y + 0.6), (width, height), (238, 236, 232))
    radius = min(full * 0.95, height + 0.5)
    canvas.ellipse((x + shot.gaze, y + 0.3), (radius, radius), who.iris)
    canvas.ellipse((x + shot.gaze, y + 0.3), (radius * 0.5, radius * 0.5), (10, 10, 10))
    canvas.ellipse((x + shot.gaze + 1.5, y - 1.5), (1.2, 1.2), (255, 255, 255))
    above, thick, tilt = who.brow
    brow = [
        (x - side * width * 1.1, y - above + tilt * 0.5),
        (x, y - above - 2),
        (x + side * width * 1.25, y - above + 3 - tilt * 0.4),
    ]
    canvas.line(brow, who.hair * 0.7, thick)


def _draw_mouth(canvas: _Canvas, who: _Person, shot: _Shot) -> None:
    y, width, lip = who.mouth
    x = np.linspace(-1, 1, 21)
    arch = 1 - x**2
    middle = y + shot.smile * (arch - 0.6)
    above = middle - lip * 0.6 * arch * (1 - 0.35 * np.exp(-((x / 0.18) ** 2)))
    gap = middle + shot.opened * arch
    below = gap + lip * arch
    upper, between, lower, opening = (
        list(zip(x * width, line, strict=True)) for line in (above, middle, below, gap)
    )
    canvas.polygon(upper + lower[::-1], who.skin * (0.82, 0.52, 0.5))
    if shot.opened > 1:
        canvas.polygon(between + opening[::-1], (245, 240, 235))
    canvas.line(between, who.skin * 0.3, 1.6)


def _draw_glasses(canvas: _Canvas, who: _Person) -> None:
    distance, y, *_ = who.eye
    for side in (-1, 1):
        canvas.ring((side * distance, y), (18, 14), (40, 40, 45))
    canvas.line([(18 - distance, y), (distance - 18, y)], (40, 40, 45), 2)


def _photographed(canvas: _Canvas, shot: _Shot) -> NDArray[Any]:
    image = canvas.image.filter(ImageFilter.GaussianBlur(0.6 * _SCALE))
    fill = _color(shot.background)
    image = image.rotate(shot.roll, Image.Resampling.BICUBIC, fillcolor=fill)
    pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), float)
    strength, slope, angle = shot.light
    along = np.linspace(-1, 1, SIDE)
    shade = along[None, :] * np.cos(angle) + along[:, None] * np.sin(angle)  # (H, W)
    noise = np.random.default_rng(shot.noise).normal(0, 3, pixels.shape)
    lit = pixels * (strength + slope * shade)[..., None] + noise
    return np.asarray(np.clip(lit, 0, 255), np.uint8)


def _color(color: Color) -> tuple[int, ...]:
    return tuple(int(one) for one in np.clip(np.asarray(color), 0, 255))
