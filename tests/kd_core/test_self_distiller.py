"""A student that is compared with the average, or snapshots, of its own weights."""

import copy

import pytest
import torch
from torch import nn

from kd_core import AutoWeight, Term
from kd_core.following import Following
from kd_core.losses import FeatureImitationLoss, OFDLoss
from kd_core.schedules import LinearWarmup, Stop
from kd_core.self_distiller import SelfDistiller

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def make(following=None, loss=None, **options):
    torch.manual_seed(0)
    student = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    term = Term(loss or FeatureImitationLoss(), **{"layers": "0"} | options)
    SelfDistiller(copy.deepcopy(student), {"own": term}, following=following).attach(student)
    return student.train()


def step(student):
    student(IMAGES)
    return student.distiller.losses()


def fill(student, value):
    with torch.no_grad():
        student[0].weight.fill_(value)


def earlier(student):
    return student.distiller.earlier[0].weight


def test_the_average_and_the_loss_by_hand():
    student = make(Following(0.75))
    fill(student, 3.0)  # as if loaded after it was attached
    assert step(student)["loss_own"] == 0  # at first it is the student
    fill(student, 3.1)
    bias = student[0].bias.detach()
    found = step(student)["loss_own"]
    torch.testing.assert_close(earlier(student), torch.full_like(earlier(student), 3.025))
    maps = [nn.functional.conv2d(IMAGES, torch.full((4, 3, 3, 3), w), bias) for w in (3.1, 3.025)]
    torch.testing.assert_close(found, (maps[0] - maps[1]).square().mean())
    found.backward()
    assert student[0].weight.grad.any() and earlier(student).grad is None
    mean = student.distiller.earlier[1].running_mean
    assert mean.any() and not torch.equal(mean, student[1].running_mean)


def test_batch_norms_that_train_are_compared_by_the_statistics_of_the_batch():
    student = make(Following(0.0), layers="1")
    assert step(student)["loss_own"] == 0  # not so by running statistics, 0 and 1 at first
    student[1].eval()
    assert step(student)["loss_own"] == 0  # both by running statistics


def test_a_batch_does_not_change_the_running_statistics_of_the_earlier_self():
    student = make(Following(0.5), layers="1")
    step(student)
    before = student.distiller.earlier[1].running_mean.clone()
    own = student[1].running_mean.clone()
    step(student)
    torch.testing.assert_close(student.distiller.earlier[1].running_mean, (before + own) / 2)


def test_snapshots_are_taken_at_the_start_of_an_epoch():
    student = make(Following(every=2))
    with pytest.raises(ValueError, match="snapshots need the length of an epoch"):
        step(student)
    student.distiller.set_run_length(2, 8)
    seen = []
    for iteration in range(6):
        fill(student, float(iteration))
        step(student)
        seen.append(earlier(student).flatten()[0].item())
    assert seen == [0, 0, 0, 0, 4, 4]


def test_it_follows_while_no_term_counts_and_does_not_run():
    student = make(Following(0.5), schedule=[LinearWarmup(begin=2, end=3), Stop(at=4)])
    runs = []
    student.distiller.earlier.register_forward_hook(lambda *_: runs.append(1))
    found = []
    for value in (1.0, 2.0, 2.0, 2.0, 2.0):
        fill(student, value)
        found.append(("loss_own" in step(student), earlier(student).flatten()[0].item()))
    assert found == [(False, 1.0), (False, 1.5), (False, 1.75), (True, 1.875), (False, 1.9375)]
    assert len(runs) == 1


def test_a_first_step_late_in_the_run_starts_from_the_student():
    student = make()
    fill(student, 5.0)
    student.distiller.set_iteration(10)
    assert step(student)["loss_own"] == 0 and torch.equal(earlier(student), student[0].weight)


def test_a_loaded_state_goes_on_with_the_average():
    student, other = make(Following(0.5)), make(Following(0.5))
    for value in (1.0, 2.0):
        fill(student, value)
        step(student)
    other.load_state_dict(student.state_dict(), strict=True)
    for one in (student, other):
        fill(one, 4.0)
    assert torch.equal(step(student)["loss_own"], step(other)["loss_own"])
    assert earlier(other).flatten()[0] == 2.75
    names = [name for name in student.state_dict() if ".earlier." in name]
    assert all(name.startswith("distiller.earlier.") for name in names) and len(names) == 7
    assert list(student.distiller.detach().state_dict()) == [
        name.removeprefix("distiller.earlier.") for name in names
    ]


def test_margins_that_a_loss_reads_from_the_teacher_follow_too():
    student = make(Following(0.0), OFDLoss(norms=["1"]))
    step(student)
    before = student.distiller.terms["own"].loss.margins[0].clone()
    with torch.no_grad():
        student[1].bias.fill_(-1.0)
    step(student)
    assert not torch.equal(student.distiller.terms["own"].loss.margins[0], before)


def test_a_measured_weight_is_refused():
    with pytest.raises(
        ValueError, match="must be a number of your own, but that of own is measured"
    ):
        make(weight=AutoWeight())
