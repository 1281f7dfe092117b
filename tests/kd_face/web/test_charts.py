"""Curves: worked out by hand, within their axes, and without anything that could run."""

import numpy as np
import pytest

from kd_face.calibration import Pairs
from kd_face.web.charts import HEIGHT, WIDTH, Chart, det_chart, error_chart, roc_chart

PAIRS = Pairs(np.array([0.6, 0.8, 0.9]), np.array([0.1, 0.2, 0.3, 0.7]))
CHARTS = {
    "error": error_chart(PAIRS, 0.65),
    "roc": roc_chart([("a", PAIRS), ("b", PAIRS)]),
    "det": det_chart([("a", PAIRS)]),
}


def places(line):
    return np.array([one.split(",") for one in line.points.split()], float)


def share(chart, y):
    """Return what a height means on an axis from 0 to 1."""
    return (chart.bottom - y) / (chart.bottom - chart.top)


@pytest.mark.parametrize("name", CHARTS)
def test_curves_and_ticks_are_within_the_axes(name):
    chart = CHARTS[name]
    assert (chart.width, chart.height) == (WIDTH, HEIGHT)
    for line in chart.lines:
        x, y = places(line).T
        assert (Chart.left - 0.1 <= x).all()
        assert (x <= Chart.right + 0.1).all()
        assert (Chart.top - 0.1 <= y).all()
        assert (y <= Chart.bottom + 0.1).all()
        assert (np.diff(x) >= 0).all()
    assert len(chart.x_ticks) > 1
    assert all(Chart.left <= at <= Chart.right for at, _ in chart.x_ticks)
    assert all(Chart.top <= at <= Chart.bottom for at, _ in chart.y_ticks)


def test_error_rates_begin_at_all_and_none_and_cross():
    chart = CHARTS["error"]
    far, frr = (places(line)[:, 1] for line in chart.lines)
    assert [line.name for line in chart.lines] == ["FAR", "FRR"]
    assert share(chart, far[0]) == pytest.approx(1)
    assert share(chart, far[-1]) == pytest.approx(0)
    assert share(chart, frr[0]) == pytest.approx(0)
    assert share(chart, frr[-1]) == pytest.approx(1)
    middle = int(np.argmin(np.abs(places(chart.lines[0])[:, 0] - chart.mark)))
    assert share(chart, far[middle]) == pytest.approx(1 / 4, abs=0.01)  # 0.7 alone passes 0.65
    assert share(chart, frr[middle]) == pytest.approx(1 / 3, abs=0.01)  # 0.6 alone does not
    assert chart.mark == pytest.approx(chart.left + (0.55 / 0.8) * (chart.right - chart.left), 0.01)


def test_roc_of_two_networks_has_two_curves_that_rise():
    chart = CHARTS["roc"]
    assert [(line.name, line.style) for line in chart.lines] == [("a", "first"), ("b", "second")]
    for line in chart.lines:
        assert (np.diff(places(line)[:, 1]) <= 0.01).all()  # upward is less in SVG
    # Below a FAR of 1 / 4 no impostor may pass: the threshold is over 0.7, and 2 of 3 pass.
    assert share(chart, places(chart.lines[0])[0, 1]) == pytest.approx(
        (2 / 3 - 0.5) / 0.5, abs=0.01
    )


def test_det_falls_and_shows_no_error_as_less_than_one():
    y = places(CHARTS["det"].lines[0])[:, 1]
    assert (np.diff(y) >= -0.01).all()
    assert y[-1] == pytest.approx(Chart.bottom)


def test_similarities_that_are_all_alike_have_curves_as_well():
    same = Pairs(np.array([0.5, 0.5]), np.array([0.5, 0.5]))
    for chart in (error_chart(same, 0.5), roc_chart([("a", same)]), det_chart([("a", same)])):
        assert all(np.isfinite(places(line)).all() for line in chart.lines if line.points)
