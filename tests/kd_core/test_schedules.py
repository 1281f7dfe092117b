import math

import pytest
import torch
from torch import nn

from kd_core import Distiller, Term
from kd_core.losses import AttentionTransferLoss
from kd_core.schedules import (
    Constant,
    CosineDecay,
    Dropped,
    LinearDecay,
    LinearWarmup,
    StepDecay,
    Stop,
)


@pytest.mark.parametrize(
    "schedule, factors",
    [
        (Constant(), {0: 1.0, 10**6: 1.0}),
        (Constant(0.25), {0: 0.25, 7: 0.25}),
        (LinearWarmup(end=10), {0: 0.0, 1: 0.1, 5: 0.5, 9: 0.9, 10: 1.0, 99: 1.0}),
        (LinearWarmup(begin=4, end=8), {0: 0.0, 4: 0.0, 5: 0.25, 6: 0.5, 8: 1.0}),
        (LinearDecay(begin=10, end=20), {0: 1.0, 10: 1.0, 15: 0.5, 19: 0.1, 20: 0.0, 30: 0.0}),
        (LinearDecay(begin=0, end=10, final=0.5), {0: 1.0, 5: 0.75, 10: 0.5, 11: 0.5}),
        (
            CosineDecay(begin=10, end=20),
            {0: 1.0, 10: 1.0, 15: 0.5, 20: 0.0, 99: 0.0, 12: (1 + math.cos(math.pi / 5)) / 2},
        ),
        (CosineDecay(begin=0, end=4, final=0.2), {0: 1.0, 2: 0.6, 4: 0.2, 5: 0.2}),
        (StepDecay(at=(2, 5), factor=0.5), {0: 1.0, 1: 1.0, 2: 0.5, 4: 0.5, 5: 0.25, 99: 0.25}),
        (StepDecay(at=[]), {0: 1.0, 99: 1.0}),
        (StepDecay(at=[2, 4]), {1: 1.0, 2: 0.1, 4: 0.01}),
        (Stop(at=3), {0: 1.0, 2: 1.0, 3: 0.0, 4: 0.0}),
        (Stop(at=0), {0: 0.0}),
    ],
    ids=repr,
)
def test_values(schedule, factors):
    assert {i: schedule(i) for i in factors} == pytest.approx(factors, abs=1e-12)


@pytest.mark.parametrize("decay", [LinearDecay, CosineDecay])
def test_a_decay_to_nothing_ends_at_exactly_nothing(decay):
    assert decay(begin=3, end=10)(10) == 0.0


def test_schedules_and_weight_are_multiplied():
    term = Term(
        nn.MSELoss(),
        "0",
        weight=3.0,
        schedule=[LinearWarmup(end=10), LinearDecay(begin=0, end=20), Stop(at=15)],
    )
    # 3 * 0.5 * 0.75, then 3 * 1 * 0.5, then stopped
    assert [term.factor(i) for i in (0, 5, 10, 15)] == pytest.approx([0.0, 1.125, 1.5, 0.0])


def test_one_schedule_needs_no_list_and_any_function_will_do():
    assert Term(nn.MSELoss(), "0", schedule=Stop(at=1)).factor(1) == 0.0
    assert Term(nn.MSELoss(), "0", weight=2, schedule=lambda i: 1 / (1 + i)).factor(3) == 0.5


@pytest.mark.parametrize("kind", [LinearWarmup, LinearDecay, CosineDecay])
@pytest.mark.parametrize("begin, end", [(5, 5), (6, 5), (-1, 5)])
def test_an_empty_span_is_refused(kind, begin, end):
    with pytest.raises(ValueError, match=f"begin is {begin} and end is {end}"):
        kind(begin=begin, end=end)


def test_a_negative_factor_is_refused():
    with pytest.raises(ValueError, match=r"must be finite and at least 0, but it is -0\.5"):
        Constant(-0.5)
    with pytest.raises(ValueError, match=r"must be finite and at least 0, but it is -0\.5"):
        StepDecay(at=(3,), factor=-0.5)


def distiller(*schedules):
    """One term for each schedule, and one that is off."""
    terms = {
        f"t{number}": Term(AttentionTransferLoss(), "0", schedule=schedule)
        for number, schedule in enumerate(schedules)
    }
    off = Term(AttentionTransferLoss(), "0", weight=0.0)
    return Distiller(nn.Sequential(nn.Conv2d(3, 4, 3)), terms | {"off": off})


@pytest.mark.parametrize(
    "schedules, iteration",
    [
        ([()], 0),
        ([LinearWarmup(end=10)], 1),
        ([LinearWarmup(begin=7, end=10), Stop(at=20)], 8),
        ([LinearWarmup(begin=7, end=10), Stop(at=5), ()], 0),  # two of three
        ([Stop(at=0)], 0),
    ],
)
def test_a_distiller_begins_where_every_term_of_some_weight_counts(schedules, iteration):
    assert distiller(*schedules).start_iteration() == iteration


def test_going_to_an_iteration():
    student = nn.Sequential(nn.Conv2d(3, 4, 3))
    distiller(LinearWarmup(end=10)).attach(student)
    images = torch.randn(2, 3, 6, 6)
    student(images)
    student.distiller.losses()
    student.distiller.set_iteration(5)
    assert student.distiller.active_terms() == {"t0": 0.5}
    student(images)
    student.distiller.losses()
    assert student.state_dict()["distiller.iteration"] == 6


class TestUnits:
    @pytest.mark.parametrize(
        "given, same",
        [
            (LinearWarmup(end=2, unit="epoch"), LinearWarmup(end=14)),
            (LinearWarmup(begin=0.5, end=1, unit="epoch"), LinearWarmup(begin=4, end=7)),
            (LinearDecay(1, 3, 0.5, unit="epoch"), LinearDecay(7, 21, 0.5)),
            (LinearDecay(begin=0, end=1, unit="share"), LinearDecay(begin=0, end=70)),
            (CosineDecay(begin=0.1, end=0.5, unit="share"), CosineDecay(begin=7, end=35)),
            (StepDecay(at=[1, 3], factor=0.5, unit="epoch"), StepDecay(at=(7, 21), factor=0.5)),
            (Stop(at=0.8, unit="share"), Stop(at=56)),
            (Stop(at=5), Stop(at=5)),
        ],
    )
    def test_a_term_knows_the_iterations(self, given, same):
        term = Term(nn.MSELoss(), "0", weight=2.0, schedule=[given, lambda i: 1.0])
        term.set_run_length(7, 70)
        assert given.in_iterations(7, 70) == same
        assert [term.factor(i) for i in range(80)] == [2.0 * same(i) for i in range(80)]

    def test_a_run_of_a_step_or_two_has_one_between_begin_and_end(self):
        warmup = LinearWarmup(end=0.083, unit="share")
        assert warmup.in_iterations(1, 1) == LinearWarmup(end=1)
        late = CosineDecay(begin=0.9, end=1.0, unit="share")
        assert late.in_iterations(2, 2) == CosineDecay(begin=2, end=3)

    def test_epochs_need_no_total(self):
        assert Stop(at=2, unit="epoch").in_iterations(10, None) == Stop(at=20)

    def test_what_is_not_known_is_an_error_in_the_first_step(self):
        student = nn.Sequential(nn.Conv2d(3, 4, 3))
        term = Term(AttentionTransferLoss(), "0", schedule=Stop(at=0.5, unit="share"))
        Distiller(nn.Sequential(nn.Conv2d(3, 4, 3)), {"at": term}).attach(student)
        with pytest.raises(ValueError, match=r"unit='share' needs the length.*set_run_length\("):
            student(torch.randn(2, 3, 8, 8))
        with pytest.raises(ValueError, match="needs the total of the run's iterations"):
            student.distiller.set_run_length(5)
        student.distiller.set_run_length(2, 4)
        names = []
        for _ in range(4):
            student(torch.randn(2, 3, 8, 8))
            names.append(list(student.distiller.losses()))
        assert names == [["loss_at"], ["loss_at"], [], []]

    def test_the_iteration_stays_the_one_counter(self):
        """A resumed run with a loader of another length counts epochs by that."""
        student = nn.Sequential(nn.Conv2d(3, 4, 3))
        term = Term(AttentionTransferLoss(), "0", schedule=Stop(at=2, unit="epoch"))
        distiller = Distiller(nn.Sequential(nn.Conv2d(3, 4, 3)), {"at": term})
        distiller.attach(student)
        distiller.set_run_length(5)
        assert distiller.start_iteration() == 0
        saved = student.state_dict()
        assert [key for key in saved if "distiller" in key] == ["distiller.iteration"]
        distiller.set_iteration(9)
        assert distiller.is_active()
        distiller.set_run_length(4)
        assert not distiller.is_active()

    @pytest.mark.parametrize(
        "make, message",
        [
            (lambda: Stop(at=1, unit="epochs"), "unit must be one of .*epoch.*but it is 'epochs'"),
            (lambda: Stop(at=1.5, unit="share"), "at must be a share of the run, at most 1, but"),
            (lambda: LinearWarmup(end=2, unit="share"), "end must be a share of the run"),
            (lambda: StepDecay(at=(0.1, -1), unit="share"), "at must be a share, 0 or later"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()


class TestDropped:
    def test_one_is_left_out_as_often_as_it_should_and_never_all(self):
        turns = [Dropped(number, of=3, drop=0.5) for number in range(3)]
        rows = [[turn(iteration) for turn in turns] for iteration in range(2000)]
        assert all(any(row) for row in rows)
        # 1/2, and a third of the 1/8 of steps in which all would be left out.
        for kept in zip(*rows, strict=True):
            assert sum(kept) / 2000 == pytest.approx(0.5 + 0.125 / 3, abs=0.03)

    def test_the_same_iteration_has_the_same_draw_and_another_seed_another(self):
        one, again, other = Dropped(0, 2), Dropped(0, 2), Dropped(0, 2, seed=1)
        values = [[turn(iteration) for iteration in range(64)] for turn in (one, again, other)]
        assert values[0] == values[1] != values[2]

    @pytest.mark.parametrize("options", [dict(number=2, of=2), dict(number=0, of=1, drop=1.0)])
    def test_numbers_out_of_range(self, options):
        with pytest.raises(ValueError, match="(number|drop) must be from 0 to below (of|1)"):
            Dropped(**options)
