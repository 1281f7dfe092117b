"""Numbers that constructors refuse; a new loss or schedule is found by its signature."""

import inspect
import math
import re

import pytest
from torch import nn

from kd_core import Term, losses, schedules
from kd_core.checks import check_positive, check_weights

OTHERS = {"samples": 9, "begin": 2, "end": 8, "at": 5, "number": 0, "of": 2}  # what has no default
MAY_BE_ZERO = {"momentum", "factor", "final", "weight", "drop"}


def numbers(make, kinds=("float",)):
    """Names of the parameters that are annotated as numbers."""
    parameters = inspect.signature(make).parameters.values()
    return [one.name for one in parameters if one.annotation in kinds]


def build(make, **options):
    wanted = inspect.signature(make).parameters
    given = {name: value for name, value in OTHERS.items() if name in wanted}
    if make is schedules.StepDecay:
        given["at"] = (5,)
    return make(**given | options)


LOSSES = [getattr(losses, name) for name in losses.__all__]
SCHEDULES = [
    kind
    for kind in vars(schedules).values()
    if inspect.isclass(kind) and kind.__module__ == schedules.__name__
    if not kind.__name__.startswith("_")
]
OPTIONS = [
    pytest.param(make, name, id=f"{make.__name__}-{name}")
    for make in [*LOSSES, *SCHEDULES]
    for name in numbers(make)
]


def test_every_loss_is_looked_at():
    found = {case.values[0] for case in OPTIONS}
    assert set(LOSSES) < found and len(SCHEDULES) == 7
    assert len(OPTIONS) > 40


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.5])
@pytest.mark.parametrize("make, name", OPTIONS)
def test_a_number_that_is_none_infinite_or_negative_is_refused(make, name, value):
    build(make)
    with pytest.raises(ValueError, match=rf"{name}\b.* must be .*{re.escape(str(value))}"):
        build(make, **{name: value})


@pytest.mark.parametrize("make, name", OPTIONS)
def test_nothing_is_a_weight_but_no_divisor(make, name):
    if name.endswith("weight") or name in MAY_BE_ZERO:
        build(make, **{name: 0.0})
    else:
        with pytest.raises(ValueError, match=rf"{name} must be "):
            build(make, **{name: 0.0})


@pytest.mark.parametrize("value", [math.nan, -1])
@pytest.mark.parametrize(
    "make, name",
    [(make, name) for make in SCHEDULES for name in numbers(make, ("Time",))],
)
def test_a_time_that_is_no_iteration_is_refused(make, name, value):
    with pytest.raises(ValueError, match=rf"{name} .*{value}"):
        build(make, **{name: value})


@pytest.mark.parametrize("value", [math.nan, -1])
def test_steps_are_iterations(value):
    with pytest.raises(ValueError, match=f"at must be an iteration, 0 or later, but it is {value}"):
        schedules.StepDecay(at=(3, value))


def test_a_ramp_that_never_ends_is_refused():
    with pytest.raises(ValueError, match="end is inf"):
        schedules.LinearWarmup(end=math.inf)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_the_weight_of_a_term(value):
    with pytest.raises(
        ValueError, match=f"weight must be finite and at least 0, but it is {value}"
    ):
        Term(nn.MSELoss(), "0", weight=value)


@pytest.mark.parametrize("check", [check_weights, check_positive])
def test_what_is_no_number_is_named(check):
    check(first=1, second=0.5)
    with pytest.raises(ValueError, match="second must be a number, but it is 'abc'"):
        check(first=1, second="abc")
    with pytest.raises(ValueError, match="second must be a number, but it is None"):
        check(first=1, second=None)
