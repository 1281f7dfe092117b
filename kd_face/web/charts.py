"""Curves of a calibration as points of inline SVG, which the server makes.

Nothing but numbers leaves this file: the template draws them, with classes for colors, so that no
style is inline.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_face.calibration import Pairs

WIDTH, HEIGHT = 340, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 14, 44
_POINTS = 80
_PROBIT = NormalDist().inv_cdf
_DET_TICKS = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8)
_ROC_TICKS = (0.0001, 0.001, 0.01, 0.1, 1.0)


@dataclass(frozen=True)
class Line:
    """A curve.

    Args:
        name: What it is.
        points: As the attribute ``points`` of a polyline.
        style: ``first`` or ``second``.
    """

    name: str
    points: str
    style: str


@dataclass(frozen=True)
class Chart:
    """A chart with its axes.

    Args:
        title: Of the chart.
        x_name: Under the horizontal axis.
        y_name: Over the vertical axis.
        x_ticks: Places and texts along the horizontal axis.
        y_ticks: Places and texts along the vertical axis.
        lines: At most two.
        mark: Place of a vertical line, or None.
    """

    title: str
    x_name: str
    y_name: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    mark: float | None = None

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM


def error_chart(pairs: Pairs, threshold: float) -> Chart:
    """Return FAR and FRR over the threshold.

    Args:
        pairs: Of the gallery.
        threshold: To be marked.
    """
    curve = pairs.curve(2 * _POINTS)  # threshold, FAR, FRR
    low, high = float(curve[0, 0]), float(curve[-1, 0])
    x, y = _axis(low, high, _LEFT, WIDTH - _RIGHT), _axis(0, 1, HEIGHT - _BOTTOM, _TOP)
    ticks = tuple((x(one), f"{one:.2f}") for one in np.linspace(low, high, 5).tolist())
    return Chart(
        "Error rates over the threshold",
        "threshold (similarity)",
        "share of pairs",
        ticks,
        tuple((y(one), f"{one:.0%}") for one in (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (
            Line("FAR", _points(curve[:, 0], curve[:, 1], x, y), "first"),
            Line("FRR", _points(curve[:, 0], curve[:, 2], x, y), "second"),
        ),
        x(min(max(threshold, low), high)),
    )


def roc_chart(named: Sequence[tuple[str, Pairs]]) -> Chart:
    """Return the share of accepted genuine pairs over FAR, which is on a logarithmic axis.

    Args:
        named: One or two networks with the pairs of their spaces.
    """
    least = min(_least(pairs) for _, pairs in named)
    log = _axis(math.log10(least), 0, _LEFT, WIDTH - _RIGHT)
    rates = [_rates(pairs) for _, pairs in named]
    bottom = _floor(min(float(1 - one[:, 1].max()) for one in rates))
    y = _axis(bottom, 1, HEIGHT - _BOTTOM, _TOP)

    def x(value: float) -> float:
        return log(math.log10(value))

    return Chart(
        "ROC",
        "FAR",
        "genuine pairs that pass",
        tuple((x(one), f"{one:.4g}") for one in _ROC_TICKS if one >= least),
        tuple((y(one), f"{one:.0%}") for one in np.linspace(bottom, 1, 6).tolist()),
        _lines(named, [(one[:, 0], 1 - one[:, 1]) for one in rates], x, y),
    )


def det_chart(named: Sequence[tuple[str, Pairs]]) -> Chart:
    """Return FRR over FAR, both on axes of normal deviates (detection error tradeoff).

    Args:
        named: One or two networks with the pairs of their spaces.
    """
    rates = [_rates(pairs) for _, pairs in named]
    low_x = min(_least(pairs) for _, pairs in named)
    low_y = min(1 / (len(pairs.genuine) + 1) for _, pairs in named)
    shown = [np.column_stack([one[:, 0], np.maximum(one[:, 1], low_y)]) for one in rates]
    high = 0.9
    across = _axis(_PROBIT(low_x), _PROBIT(high), _LEFT, WIDTH - _RIGHT)
    up = _axis(_PROBIT(low_y), _PROBIT(high), HEIGHT - _BOTTOM, _TOP)
    kept = [one[(one <= high).all(1)] for one in shown]

    def x(value: float) -> float:
        return across(_PROBIT(value))

    def y(value: float) -> float:
        return up(_PROBIT(value))

    return Chart(
        "DET",
        "FAR",
        "FRR",
        tuple((x(one), f"{one:.4g}") for one in _DET_TICKS if one >= low_x),
        tuple((y(one), f"{one:.4g}") for one in _DET_TICKS if one >= low_y),
        _lines(named, [(one[:, 0], one[:, 1]) for one in kept], x, y),
    )


def _least(pairs: Pairs) -> float:
    """Return the least FAR but zero that can be shown, and at most 1 in 100."""
    return min(0.01, max(1 / len(pairs.impostor), _ROC_TICKS[0]))


def _rates(pairs: Pairs) -> NDArray[Any]:
    """Return FAR and FRR (points, 2) at thresholds whose FAR are evenly spaced logarithms."""
    wanted = np.geomspace(_least(pairs), 0.999, _POINTS).tolist()
    places = np.array([pairs.threshold_for(one) for one in wanted])
    frr = np.searchsorted(pairs.genuine, places, side="left") / len(pairs.genuine)
    return np.column_stack([wanted, frr])


def _lines(
    named: Sequence[tuple[str, Pairs]],
    curves: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> tuple[Line, ...]:
    return tuple(
        Line(name, _points(across, up, x, y), style)
        for (name, _), (across, up), style in zip(named, curves, ("first", "second"), strict=False)
    )


def _points(
    across: NDArray[Any],
    up: NDArray[Any],
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> str:
    pairs = zip(across.tolist(), up.tolist(), strict=True)
    return " ".join(f"{x(one):.1f},{y(two):.1f}" for one, two in pairs)


def _axis(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: round(begin + (value - low) / span * (end - begin), 2)


def _floor(value: float) -> float:
    """Return the highest of some round numbers that is not above a value."""
    return max(one for one in (0.0, 0.5, 0.8, 0.9) if one <= value or one == 0)
