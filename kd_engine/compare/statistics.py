"""Paired statistics over seeds: mean difference, its interval, and how many seeds a proof needs.

Two arms of a comparison share their seeds, hence initial weights where the networks are equal, and
the order of the data. So the difference is taken seed by seed: what a lucky seed gives to both
cancels out. The interval is Student's t of these differences,

    mean +- t(n - 1, 0.975) * deviation / sqrt(n),

which holds 95 % of the time if they are roughly normal. Plain numbers in, plain numbers out.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kd_core.packages import missing_package

LEVEL = 0.95  # of the interval
POWER = 0.8  # chance that the seeds that are called enough show a difference as large as this one
_MOST = 1000  # seeds, beyond which no number is given
_TINY = 1e-9  # deviation relative to the mean, below which differences are equal

Outcome = Literal["better", "worse", "unclear", "same", "constant", "single", "missing"]


@dataclass(frozen=True)
class Difference:
    """Differences between two arms, one for each seed that both have.

    Attributes:
        values: Seed to the arm's score minus the baseline's.
        left_out: Seeds that one of them lacks, or where a score is not finite.
        lower_is_better: Whether a negative difference is a gain.
    """

    values: Mapping[int, float]
    left_out: tuple[int, ...] = ()
    lower_is_better: bool = False

    @property
    def mean(self) -> float:
        """Mean difference; NaN without a seed."""
        return statistics.fmean(self.values.values()) if self.values else math.nan

    @property
    def deviation(self) -> float:
        """Sample standard deviation of the differences; NaN with fewer than two seeds."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean difference; NaN with fewer than two seeds."""
        return interval(list(self.values.values()))

    @property
    def gains(self) -> int:
        """Number of seeds with which the arm is better."""
        return sum(value * self._sign > 0 for value in self.values.values())

    @property
    def outcome(self) -> Outcome:
        """Conclusion.

        "better" or "worse" where the interval excludes 0, "unclear" where it does not. "same" and
        "constant" where all differences are 0, or another number: then the seeds change nothing,
        and are one measurement. "single" with one seed, "missing" with none.
        """
        if len(self.values) < 2:
            return "single" if self.values else "missing"
        if self.deviation <= _TINY * max(abs(value) for value in self.values.values()):
            return "constant" if self.mean else "same"
        low, high = sorted(end * self._sign for end in self.interval)
        return "better" if low > 0 else "worse" if high < 0 else "unclear"

    @property
    def needed(self) -> int | None:
        """Seeds that would be needed if this mean and deviation are the true ones.

        None if it cannot be said: fewer than two seeds, no difference, or more than 1000.
        """
        return needed_seeds(self.mean, self.deviation)

    @property
    def _sign(self) -> int:
        return -1 if self.lower_is_better else 1


def paired_difference(
    scores: Mapping[int, float], baseline: Mapping[int, float], lower_is_better: bool = False
) -> Difference:
    """Subtract a baseline's scores from an arm's, seed by seed.

    Args:
        scores: Seed to score of the arm.
        baseline: The same of the arm that it is compared with.
        lower_is_better: Whether a lower score is a better one.

    Example:
        >>> found = paired_difference({0: 0.32, 1: 0.35, 2: 0.33}, {0: 0.30, 1: 0.32, 2: 0.31})
        >>> f"{found.mean:.3f}, {found.interval[0]:.3f} to {found.interval[1]:.3f}", found.outcome
        ('0.023, 0.009 to 0.038', 'better')
    """
    values, left_out = {}, []
    for seed in sorted({*scores, *baseline}):
        pair = scores.get(seed, math.nan), baseline.get(seed, math.nan)
        if all(map(math.isfinite, pair)):
            values[seed] = pair[0] - pair[1]
        else:
            left_out.append(seed)
    return Difference(values, tuple(left_out), lower_is_better)


def interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of a mean by Student's t; NaN with fewer than two values.

    Args:
        values: Independent measurements.
        level: How often such an interval holds the true mean.
    """
    if len(values) < 2:
        return math.nan, math.nan
    mean = statistics.fmean(values)
    half = _quantile(len(values) - 1, level) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def needed_seeds(mean: float, deviation: float, power: float = POWER) -> int | None:
    """Return the smallest number of seeds whose interval would exclude 0.

    With that many, the interval excludes 0 in a share ``power`` of all repetitions, if the true
    mean difference and deviation are the given ones (power of the paired t-test, from the
    noncentral t distribution). Estimated from few seeds it is a rough guide.

    Args:
        mean: Mean difference.
        deviation: Standard deviation of the differences.
        power: Wanted chance.

    Returns:
        The number, at least 2; None if it is above 1000 or cannot be said.

    Example:
        >>> needed_seeds(mean=1.0, deviation=1.0)
        10
    """
    if not (math.isfinite(mean) and math.isfinite(deviation)) or not mean or deviation <= 0:
        return None
    effect = abs(mean) / deviation
    low, high = 2, _MOST
    if _power(high, effect) < power:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(middle, effect) >= power else (middle + 1, high)
    return low


def _quantile(freedom: int, level: float) -> float:
    try:
        from scipy.special import stdtrit
    except ImportError as error:
        raise missing_package("an interval", "scipy") from error
    return float(stdtrit(freedom, (1 + level) / 2))


def _power(seeds: int, effect: float) -> float:
    from scipy.special import nctdtr

    limit, shift = _quantile(seeds - 1, LEVEL), effect * math.sqrt(seeds)
    chance = 1 - nctdtr(seeds - 1, shift, limit) + nctdtr(seeds - 1, shift, -limit)
    # far out, where scipy gives NaN, the chance is 1
    return float(chance) if math.isfinite(chance) else 1.0
