"""Paired statistics: intervals, seeds that would be needed, conclusions on synthetic runs."""

import math

import numpy as np
import pytest

from kd_engine.compare.statistics import interval, needed_seeds, paired_difference


def synthetic(gain, noise, seeds, common=5.0):
    """Return scores of two arms: seeds that both feel, a gain, and noise of each."""
    rng = np.random.default_rng(0)
    shared = rng.normal(30.0, common, seeds)
    baseline = shared + rng.normal(0, noise, seeds)
    arm = shared + gain + rng.normal(0, noise, seeds)
    return dict(enumerate(arm)), dict(enumerate(baseline))


def test_the_interval_is_students():
    """Of 1, 2, 3: 2 +- 4.302653 / sqrt(3), by the table of t with 2 degrees of freedom."""
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-5)
    assert all(map(math.isnan, interval([1.0])))


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    ends = [interval(list(rng.normal(1.0, 2.0, 4))) for _ in range(2000)]
    assert np.mean([low < 1.0 < high for low, high in ends]) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("mean", "deviation", "seeds"), [(1, 1, 10), (1, 2, 34), (-1, 3, 73)])
def test_the_seeds_needed_are_those_of_the_tables_of_power(mean, deviation, seeds):
    """Paired t-test, two-sided 5 %, power 80 %: Cohen's d of 1, 0.5 and 1/3."""
    assert needed_seeds(mean, deviation) == seeds


def test_the_seeds_needed_are_not_said_where_they_cannot_be():
    assert needed_seeds(0.01, 1.0) is None  # more than 1000
    assert needed_seeds(0.0, 1.0) is needed_seeds(1.0, math.nan) is None
    assert needed_seeds(100.0, 0.1) == 2


def test_a_known_difference_is_found():
    found = paired_difference(*synthetic(gain=3.0, noise=0.5, seeds=5))
    low, high = found.interval
    assert found.outcome == "better" and 0 < low < 3.0 < high and found.gains == 5


def test_pairs_cancel_what_the_seed_gives_to_both():
    arm, baseline = synthetic(gain=3.0, noise=0.5, seeds=5)
    shuffled = dict(zip(baseline, [*list(baseline.values())[1:], baseline[0]], strict=True))
    assert paired_difference(arm, shuffled).outcome == "unclear"


def test_no_difference_is_noise():
    found = paired_difference(*synthetic(gain=0.0, noise=1.0, seeds=10))
    assert found.outcome == "unclear"


def test_harm_is_harm():
    assert paired_difference(*synthetic(gain=-3.0, noise=0.5, seeds=5)).outcome == "worse"


def test_too_few_seeds_prove_nothing():
    arm, baseline = {0: 31.0, 1: 33.0}, {0: 30.0, 1: 30.0}
    found = paired_difference(arm, baseline)
    assert found.outcome == "unclear" and found.gains == 2
    assert found.needed == 7  # power 0.79 with 6, 0.87 with 7, by simulation


def test_one_seed_has_no_interval():
    found = paired_difference({3: 31.0}, {3: 30.0})
    assert (found.outcome, found.mean, found.needed) == ("single", 1.0, None)
    assert math.isnan(found.deviation)


def test_nan_and_seeds_of_one_side_are_left_out_by_name():
    found = paired_difference(
        {0: 1.0, 1: math.nan, 2: 2.0, 3: 1.0}, {0: 0.5, 1: 0.5, 2: 1.0, 4: math.inf}
    )
    assert dict(found.values) == {0: 0.5, 2: 1.0} and found.left_out == (1, 3, 4)
    nothing = paired_difference({0: math.nan}, {0: 1.0})
    assert nothing.outcome == "missing" and math.isnan(nothing.mean)


def test_lower_may_be_better():
    found = paired_difference({0: 0.3, 1: 0.31, 2: 0.32}, {0: 0.5, 1: 0.52, 2: 0.51}, True)
    assert found.outcome == "better" and found.mean < 0 and found.gains == 3
    assert paired_difference(found.values, dict.fromkeys(range(3), -1.0), True).outcome == "worse"


def test_seeds_without_effect_are_one_measurement():
    same = paired_difference({0: 0.1 + 0.2, 1: 0.1 + 0.2}, {0: 0.3, 1: 0.3})
    assert same.outcome in ("same", "constant")
    scores = {seed: 0.35 for seed in range(5)}
    assert paired_difference(scores, dict.fromkeys(range(5), 0.3)).outcome == "constant"
    assert paired_difference(scores, scores).outcome == "same"
