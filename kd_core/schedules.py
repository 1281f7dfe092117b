"""Schedules of a term's weight: factors between 0 and 1, as functions of the iteration.

Each schedule is a callable ``iteration -> factor``; several are multiplied, so warm-up and
decay combine. A factor of exactly 0 costs nothing: the term is not computed.

Times are iterations, or by ``unit`` epochs or shares of the whole run: then the distiller must
know how long the run is, see :meth:`kd_core.base_distiller.BaseDistiller.set_run_length`.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kd_core.checks import check_choice, check_weights

Time = float  # a number of iterations or epochs, or a share of the run from 0 to 1

_UNITS = ("iteration", "epoch", "share")


class _Timed:
    """Base class of schedules with times, in ``unit``."""

    unit: str

    def __call__(self, iteration: int) -> float:
        """Return the factor at an iteration (counted from 0).

        Raises:
            ValueError: If the times are not in iterations.
        """
        if self.unit != "iteration":
            raise ValueError(
                f"a schedule with unit={self.unit!r} needs the length of the run, but it is not "
                "known. Call the distiller's set_run_length(epoch_length, total) before training "
                "(a run of kdkit train does), or give the times in iterations."
            )
        return self._value(iteration)

    def in_iterations(self, epoch_length: int, total: int | None) -> Any:
        """Return the same schedule with times in whole iterations.

        Args:
            epoch_length: Iterations of an epoch.
            total: Iterations of the run; needed only for shares.

        Raises:
            ValueError: If the total is needed and not known.
        """
        if self.unit == "iteration":
            return self
        if self.unit == "share" and total is None:
            raise ValueError(
                "a schedule with unit='share' needs the total of the run's iterations, but it is "
                "not known. Give set_run_length a total, or give the times in epochs."
            )
        length = epoch_length if self.unit == "epoch" else total
        times: dict[str, Any] = {}
        for name in ("begin", "end", "at"):
            value: Any = getattr(self, name, None)
            if isinstance(value, Sequence):
                times[name] = tuple(round(one * length) for one in value)
            elif value is not None:
                times[name] = round(value * length)
        if "end" in times and times["end"] == times.get("begin"):
            times["end"] += 1  # a run so short that rounding leaves nothing between them
        return dataclasses.replace(self, unit="iteration", **times)  # type: ignore[type-var]

    def _value(self, iteration: int) -> float:
        raise NotImplementedError


@dataclass(frozen=True)
class Constant:
    """Constant factor.

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
class LinearWarmup(_Timed):
    """Linear rise from 0 before ``begin`` to 1 at ``end``.

    Example:
        >>> LinearWarmup(end=100)(25)
        0.25
        >>> LinearWarmup(end=2, unit="epoch").in_iterations(epoch_length=50, total=None)(25)
        0.25
    """

    end: Time
    begin: Time = 0
    unit: str = "iteration"

    def __post_init__(self) -> None:
        _check_span(self.begin, self.end, self.unit)

    def _value(self, iteration: int) -> float:
        return _progress(iteration, self.begin, self.end)


@dataclass(frozen=True)
class LinearDecay(_Timed):
    """Linear fall from 1 at ``begin`` to ``final`` at ``end``.

    Example:
        >>> LinearDecay(begin=0, end=100)(75)
        0.25
    """

    begin: Time
    end: Time
    final: float = 0.0
    unit: str = "iteration"

    def __post_init__(self) -> None:
        _check_span(self.begin, self.end, self.unit)
        check_weights(final=self.final)

    def _value(self, iteration: int) -> float:
        return 1.0 + (self.final - 1.0) * _progress(iteration, self.begin, self.end)


@dataclass(frozen=True)
class CosineDecay(_Timed):
    """Fall along half a cosine from 1 at ``begin`` to ``final`` at ``end``.

    Example:
        >>> round(CosineDecay(begin=0, end=100)(50), 6)
        0.5
    """

    begin: Time
    end: Time
    final: float = 0.0
    unit: str = "iteration"

    def __post_init__(self) -> None:
        _check_span(self.begin, self.end, self.unit)
        check_weights(final=self.final)

    def _value(self, iteration: int) -> float:
        progress = _progress(iteration, self.begin, self.end)
        if progress >= 1.0:
            return self.final
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class StepDecay(_Timed):
    """1, and multiplied by ``factor`` at each of the times ``at``.

    Example:
        >>> StepDecay(at=(100, 200), factor=0.5)(200)
        0.25
    """

    at: Sequence[Time]
    factor: float = 0.1
    unit: str = "iteration"

    def __post_init__(self) -> None:
        check_weights(factor=self.factor)
        _check_times("at", self.unit, *self.at)

    def _value(self, iteration: int) -> float:
        return self.factor ** sum(iteration >= step for step in self.at)


@dataclass(frozen=True)
class Stop(_Timed):
    """1 before a time, 0 from it on: the end of training has only the task's losses.

    Example:
        >>> Stop(at=100)(99), Stop(at=100)(100)
        (1.0, 0.0)
    """

    at: Time
    unit: str = "iteration"

    def __post_init__(self) -> None:
        _check_times("at", self.unit, self.at)

    def _value(self, iteration: int) -> float:
        return 1.0 if iteration < self.at else 0.0


@dataclass(frozen=True)
class Dropped:
    """1, or 0 in steps that are drawn at random: one of several that are never all left out.

    Each of ``of`` terms is left out of a step with the probability ``drop``; where all would be,
    one of them stays. Seed and iteration alone decide, so that the terms agree with each other, on
    all ranks and in a resumed run. A teacher of none but such terms does not run in these steps.

    Args:
        number: Which of the terms this one is, from 0.
        of: How many there are.
        drop: Probability, from 0 to below 1.
        seed: Another one draws others.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> turns = [Dropped(number, of=2, drop=0.9) for number in (0, 1)]
        >>> {sum(turn(iteration) for turn in turns) >= 1 for iteration in range(50)}
        {True}
    """

    number: int
    of: int
    drop: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.of:
            raise ValueError(
                f"number must be from 0 to below of, but they are {self.number} and {self.of}."
            )
        if not 0 <= self.drop < 1:
            raise ValueError(f"drop must be from 0 to below 1, but it is {self.drop}.")

    def __call__(self, iteration: int) -> float:
        """Return the factor at an iteration (counted from 0)."""
        draw = random.Random(f"{self.seed} {iteration}")
        kept = [draw.random() >= self.drop for _ in range(self.of)]
        if not any(kept):
            kept[draw.randrange(self.of)] = True
        return float(kept[self.number])


def _check_times(name: str, unit: str, *times: float) -> None:
    check_choice("unit", unit, _UNITS)
    for time in times:
        if not time >= 0:  # not a number is not
            kind = "a share" if unit == "share" else f"an {unit}"
            raise ValueError(f"{name} must be {kind}, 0 or later, but it is {time}.")
        if unit == "share" and time > 1:
            raise ValueError(f"{name} must be a share of the run, at most 1, but it is {time}.")


def _check_span(begin: float, end: float, unit: str) -> None:
    if not 0 <= begin < end < math.inf:
        raise ValueError(
            f"a schedule must begin at 0 or later and end after it begins, "
            f"but begin is {begin} and end is {end}."
        )
    _check_times("begin", unit, begin)
    _check_times("end", unit, end)


def _progress(iteration: int, begin: float, end: float) -> float:
    return min(max((iteration - begin) / (end - begin), 0.0), 1.0)
