"""Calibration: rates, intervals and thresholds by hand, and the report on a gallery."""

import numpy as np
import pytest

from kd_face.calibration import Pairs, all_pairs, eer_interval, wilson
from kd_face.errors import FaceError
from kd_face.gallery_report import gallery_rows, more_pictures, report

from .stand_ins import enrol

PAIRS = Pairs(
    np.array([0.3, 0.6, 0.8, 0.9], np.float32), np.array([0.0, 0.1, 0.2, 0.4, 0.7], np.float32)
)


def gallery(people, pictures, noise, seed=0):
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(people, 1, 16)) + noise * draw.normal(size=(people, pictures, 16))
    rows = rows.reshape(-1, 16).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), np.arange(people).repeat(pictures)


def test_rates_by_hand():
    assert (PAIRS.far(0.5).hits, PAIRS.frr(0.5).hits) == (1, 1)
    assert PAIRS.far(np.float32(0.7)).hits == 1 and PAIRS.frr(np.float32(0.6)).hits == 1  # >= and <
    assert PAIRS.far(0.5).value == 0.2 and PAIRS.frr(0.5).value == 0.25


@pytest.mark.parametrize(("far", "accepted"), [(0.0, 0), (0.19, 0), (0.2, 1), (0.5, 2), (0.8, 4)])
def test_the_least_threshold_of_a_far(far, accepted):
    threshold = PAIRS.threshold_for(far)
    assert PAIRS.far(threshold).hits == accepted
    below = np.nextafter(np.float32(threshold), np.float32(-1))
    assert PAIRS.far(below).value > far


def test_ties_are_not_accepted_in_part():
    tied = Pairs(PAIRS.genuine, np.array([0.1, 0.5, 0.5, 0.5], np.float32))
    assert tied.far(tied.threshold_for(0.5)).hits == 0


def test_the_eer_by_hand():
    # At 0.6: FAR 1/5 and FRR 1/4; nowhere are they nearer.
    assert PAIRS.eer() == pytest.approx((0.225, 0.6))


def test_wilson_by_the_published_formula():
    assert wilson(0, 10) == pytest.approx((0, 0.27753), abs=1e-5)
    assert wilson(5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-5)
    low, high = wilson(3, 10)
    assert wilson(7, 10) == pytest.approx((1 - high, 1 - low))
    assert wilson(0, 0) == (0, 1)


def test_pairs_are_those_of_brute_force():
    rows, people = gallery(300, 2, 0.5)  # more than one block of rows
    found = all_pairs(rows, people)
    first, second = np.triu_indices(len(rows), 1)
    values, same = (rows @ rows.T)[first, second], people[first] == people[second]
    assert np.allclose(found.genuine, np.sort(values[same]), atol=1e-6)
    assert np.allclose(found.impostor, np.sort(values[~same]), atol=1e-6)


def test_the_curve_falls_and_rises():
    curve = PAIRS.curve(50)
    assert (np.diff(curve[:, 1]) <= 0).all() and (np.diff(curve[:, 2]) >= 0).all()
    assert curve[0, 1:].tolist() == [1, 0] and curve[-1, 1:].tolist() == [0, 1]


def test_the_interval_of_the_eer():
    rows, people = gallery(15, 4, 0.9)
    low, high = eer_interval(rows, people)
    assert low < all_pairs(rows, people).eer()[0] < high and high - low > 0.01
    assert eer_interval(rows, people) == (low, high)  # drawn by a seed
    more_low, more_high = eer_interval(*gallery(60, 4, 0.9))
    assert more_high - more_low < high - low


def test_the_report_and_its_warnings():
    found = report(*gallery(10, 2, 0.3), 0.001)
    assert (found.people, found.pictures, found.far.total, found.frr.total) == (10, 20, 180, 10)
    assert found.rank_1.value == 1 and found.far.hits == 0
    text = " ".join(found.warnings)
    assert "10 people, fewer than 20" in text and "10 of 10 people have fewer than 3" in text
    assert "180 impostor pairs cannot show a FAR of 0.001: at least 3,000" in text
    assert "10 more people are needed" in text and "2 more pictures of each" in text


def test_enough_is_not_warned_of():
    found = report(*gallery(60, 3, 0.3), 0.001)
    assert len(found.warnings) == 1  # how to make the intervals narrower


def test_strangers_are_counted_by_the_best_of_the_others():
    rows = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 0]]  # the last: another one's double
    found = report(rows, np.array([0, 0, 1, 1, 2]), 0.5)
    assert (found.accepted_strangers.hits, found.accepted_strangers.total) == (3, 5)
    assert (found.rank_1.hits, found.rank_1.total) == (2, 4)


@pytest.mark.parametrize("mean", [2, 3, 5, 10])
def test_four_times_the_pairs(mean):
    more = mean + more_pictures(mean)
    assert more * (more - 1) >= 4 * mean * (mean - 1) > (more - 1) * (more - 2)


def test_too_little_is_named(home, networks):
    with home.read() as session, pytest.raises(FaceError, match="no picture"):
        gallery_rows(session, 1)
    enrol(home, networks, 1, [0, 1])
    with home.read() as session:
        rows, people, total = gallery_rows(session, 1)
    assert total == 2
    with pytest.raises(ValueError, match="1 people with 2 pictures"):
        report(rows, people, 0.01)
