"""How much a term counts at an iteration: factors between 0 and 1 on its weight.

Each schedule is a callable ``iteration -> factor``; several are multiplied, so warm-up and
decay combine. A factor of exactly 0 costs nothing: the term is not computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kd_core.checks import check_weights


@dataclass(frozen=True)
class Constant:
    """Always the same factor.

    Example:
        >>> Constant(0.5)(100)
        0.5
    """

    factor: float = 1.0

    def __post_init__(self) -> None:
        check_weights(factor=self.factor)

    def __call__(self, iteration: int) -> float:
        """Return the factor at an iteration (counted from 0)."""
        return self.factor


@dataclass(frozen=True)
class LinearWarmup:
    """Rises from 0 before ``begin`` to 1 at ``end``, in iterations.

    Example:
        >>> LinearWarmup(end=100)(25)
        0.25
    """

    end: int
    begin: int = 0

    def __post_init__(self) -> None:
        _check_span(self.begin, self.end)

    def __call__(self, iteration: int) -> float:
        """Return the factor at an iteration (counted from 0)."""
        return _progress(iteration, self.begin, self.end)


@dataclass(frozen=True)
class LinearDecay:
    """Falls in a line from 1 at ``begin`` to ``final`` at ``end``, in iterations.

    Example:
        >>> LinearDecay(begin=0, end=100)(75)
        0.25
    """

    begin: int
    end: int
    final: float = 0.0

    def __post_init__(self) -> None:
        _check_span(self.begin, self.end)
        check_weights(final=self.final)

    def __call__(self, iteration: int) -> float:
        """Return the factor at an iteration (counted from 0)."""
        return 1.0 + (self.final - 1.0) * _progress(iteration, self.begin, self.end)


@dataclass(frozen=True)
class CosineDecay:
    """Falls along half a cosine from 1 at ``begin`` to ``final`` at ``end``, in iterations.

    Example:
        >>> round(CosineDecay(begin=0, end=100)(50), 6)
        0.5
    """

    begin: int
    end: int
    final: float = 0.0

    def __post_init__(self) -> None:
        _check_span(self.begin, self.end)
        check_weights(final=self.final)

    def __call__(self, iteration: int) -> float:
        """Return the factor at an iteration (counted from 0)."""
        progress = _progress(iteration, self.begin, self.end)
        if progress >= 1.0:
            return self.final
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class StepDecay:
    """1, and multiplied by ``factor`` at each of the iterations ``at``.

    Example:
        >>> StepDecay(at=(100, 200), factor=0.5)(200)
        0.25
    """

    at: Sequence[int]
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_weights(factor=self.factor)
        _check_times(*self.at)

    def __call__(self, iteration: int) -> float:
        """Return the factor at an iteration (counted from 0)."""
        return self.factor ** sum(iteration >= step for step in self.at)


@dataclass(frozen=True)
class Stop:
    """1 up to an iteration, 0 from it on: the end of training is for the task alone.

    Example:
        >>> Stop(at=100)(99), Stop(at=100)(100)
        (1.0, 0.0)
    """

    at: int

    def __post_init__(self) -> None:
        _check_times(self.at)

    def __call__(self, iteration: int) -> float:
        """Return the factor at an iteration (counted from 0)."""
        return 1.0 if iteration < self.at else 0.0


def _check_times(*iterations: int) -> None:
    for iteration in iterations:
        if not iteration >= 0:  # not a number is not
            raise ValueError(f"at must be an iteration, 0 or later, but it is {iteration}.")


def _check_span(begin: int, end: int) -> None:
    if not 0 <= begin < end < math.inf:
        raise ValueError(
            f"a schedule must begin at 0 or later and end after it begins, "
            f"but begin is {begin} and end is {end}."
        )


def _progress(iteration: int, begin: int, end: int) -> float:
    return min(max((iteration - begin) / (end - begin), 0.0), 1.0)
