"""Joint score of accuracy and compression: a value by hand, and its properties."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_engine.cost.score import (
    Cost,
    CostWeights,
    References,
    gap_closed,
    joint_score,
    ranking,
)

CLOSE = 1e-9  # rounding
scores = st.floats(0.0, 100.0)
positive = st.floats(1e-6, 1e12)
factors = st.floats(1e-3, 1e3)
costs = st.builds(Cost, positive, positive, positive)


@st.composite
def weights(draw):
    parts = draw(st.tuples(*[st.floats(0.01, 1.0)] * 3))
    return CostWeights(*(part / sum(parts) for part in parts))


references = st.builds(
    References,
    metric=st.just("mAP"),
    teacher_score=st.floats(0.01, 100.0),
    teacher_cost=costs,
    device=st.just("this one"),
    tolerance=st.floats(0.01, 1.0),
    rho_target=st.floats(1.5, 1000.0),
    weights=weights(),
)
TEACHER = Cost(1000, 1000, 1.0)
FIXED = References("mAP", 0.5, TEACHER, "a CPU")


def test_by_hand():
    # q_ref = 0.45, R = (0.49 - 0.45) / 0.05 = 0.8; rho = (4 * 10 * 2) ** (1/3), E = log10(80) / 3
    found = joint_score(0.49, Cost(250, 100, 0.5), FIXED)
    assert found.retention == pytest.approx(0.8)
    assert found.rho == pytest.approx(80 ** (1 / 3))
    assert found.efficiency == pytest.approx(math.log10(80) / 3)
    assert found.value == pytest.approx(0.8 * math.log10(80) / 3)


def test_the_example_of_the_page(capsys):
    page = Path(__file__).parents[3] / "docs/cost.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, str(page), "exec"), {})
    assert capsys.readouterr().out.startswith("['distilled', 'alone'] teacher's mAP 0.536, tau 0.1")


def test_limits():
    tenth = Cost(100, 100, 0.1)
    assert joint_score(0.5, tenth, FIXED).value == pytest.approx(1.0)
    assert joint_score(0.5, Cost(1, 1, 0.001), FIXED).efficiency == 1.0
    assert joint_score(0.45, tenth, FIXED).value == pytest.approx(0.0, abs=1e-12)
    assert joint_score(0.1, tenth, FIXED).value == 0.0
    assert joint_score(0.55, tenth, FIXED).value == pytest.approx(2.0)  # R has no upper limit


@given(scores, references)
def test_no_compression_gives_0(score, given_references):
    assert joint_score(score, given_references.teacher_cost, given_references).value == 0.0


@given(scores, scores, costs, references)
def test_a_higher_score_never_ranks_lower(one, other, cost, given_references):
    low, high = sorted((one, other))
    below, above = (joint_score(score, cost, given_references) for score in (low, high))
    assert below.value <= above.value


@pytest.mark.parametrize("name", ["stored_bytes", "macs", "seconds"])
@given(score=scores, cost=costs, factor=st.floats(1.0, 1e3), given_references=references)
def test_a_higher_cost_never_ranks_higher(name, score, cost, factor, given_references):
    dearer = replace(cost, **{name: getattr(cost, name) * factor})
    cheap, dear = (joint_score(score, one, given_references).value for one in (cost, dearer))
    assert dear <= cheap * (1 + CLOSE) + CLOSE


@given(scores, costs, references, factors, st.tuples(factors, factors, factors))
def test_it_is_free_of_units(score, cost, given_references, unit, units):
    def in_units(one):
        values = (one.stored_bytes, one.macs, one.seconds)
        return Cost(*(value * other for value, other in zip(values, units, strict=True)))

    changed = replace(
        given_references,
        teacher_score=given_references.teacher_score * unit,
        teacher_cost=in_units(given_references.teacher_cost),
    )
    found = joint_score(score * unit, in_units(cost), changed).value
    assert found == pytest.approx(joint_score(score, cost, given_references).value, 1e-6, 1e-6)


@given(scores, costs, references, st.floats(0, 1), st.tuples(*[st.floats(1.0, 1e3)] * 3))
def test_a_dominated_model_never_ranks_above(score, cost, given_references, less, more):
    values = (cost.stored_bytes, cost.macs, cost.seconds)
    worse = Cost(*(value * factor for value, factor in zip(values, more, strict=True)))
    better_one = joint_score(score, cost, given_references)
    worse_one = joint_score(score * less, worse, given_references)
    assert worse_one.value <= better_one.value * (1 + CLOSE) + CLOSE


@given(scores, costs, references)
def test_the_parts_are_in_their_ranges(score, cost, given_references):
    found = joint_score(score, cost, given_references)
    assert found.retention >= 0 and 0 <= found.efficiency <= 1 and found.rho > 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (dict(metric="mAP50"), "metric is mAP and mAP50"),
        (dict(teacher_score=0.6), "teacher's score is 0.5 and 0.6"),
        (dict(teacher_cost=Cost(999, 1000, 1.0)), "teacher's stored bytes is 1000 and 999"),
        (dict(teacher_cost=Cost(1000, 999, 1.0)), "teacher's multiply-adds is 1000 and 999"),
        (dict(device="a GPU"), "device is a CPU and a GPU"),
        (dict(tolerance=0.2), "tau is 0.1 and 0.2"),
        (dict(rho_target=4.0), "rho target is 10.0 and 4.0"),
        (dict(weights=CostWeights(0.5, 0.5, 0)), "weight of seconds is 0.333.* and 0"),
    ],
)
def test_different_references_refuse_to_be_compared(change, named):
    one = joint_score(0.5, Cost(100, 100, 0.1), FIXED)
    other = joint_score(0.5, Cost(100, 100, 0.1), replace(FIXED, **change))
    for compare in (lambda: one < other, lambda: one > other, lambda: max(one, other)):
        with pytest.raises(ValueError, match="cannot be compared"):
            compare()
    with pytest.raises(ValueError, match=named):
        ranking({"one": one, "other": other})


def test_ranking_with_the_teachers_latency_measured_anew():
    again = replace(FIXED, teacher_cost=Cost(1000, 1000, 1.1))
    good = joint_score(0.5, Cost(100, 100, 0.1), FIXED)
    bad = joint_score(0.46, Cost(100, 100, 0.1), again)
    worst = joint_score(0.3, Cost(100, 100, 0.1), FIXED)
    assert ranking({"worst": worst, "bad": bad, "good": good}) == ["good", "bad", "worst"]


def test_all_references_are_named():
    text = FIXED.describe()
    for part in ("mAP", "0.5", "tau 0.1", "0.45", "rho target 10", "macs 0.333", "a CPU"):
        assert part in text


def test_gap_closed():
    assert gap_closed(0.4, 0.45, 0.5, 0.01) == pytest.approx(0.5)
    assert gap_closed(0.4, 0.38, 0.5, 0.01) == pytest.approx(-0.2)  # it harmed
    assert gap_closed(0.4, 0.45, 0.5, 0.06) is None  # a lead under two deviations
    assert gap_closed(0.4, 0.45, 0.5, None) is None  # one seed
    assert gap_closed(0.5, 0.45, 0.4, 0.0) is None  # no lead


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cost(0, 1, 1), "stored_bytes must be above 0 and finite, but it is 0"),
        (lambda: Cost(1, 1, math.nan), "seconds must be above 0"),
        (lambda: CostWeights(0.5, 0.5, 0.5), "add up to 1, but they are stored_bytes 0.5"),
        (lambda: CostWeights(1.5, -0.5, 0), "must not be negative"),
        (lambda: References("mAP", 0.0, TEACHER, "x"), "teacher's mAP must be above 0"),
        (lambda: replace(FIXED, tolerance=0), "tolerance must be above 0"),
        (lambda: replace(FIXED, rho_target=1), "rho_target must be above 1"),
        (lambda: joint_score(math.nan, TEACHER, FIXED), "mAP is nan"),
    ],
)
def test_bad_values_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
