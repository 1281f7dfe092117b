"""What is made and tried before the first step, and what of it is trained at an iteration."""

import torch
from torch import nn

from kd_core import Distiller, Term
from kd_core.fit import idle_parameters
from kd_core.losses import FeatureImitationLoss


def test_the_trial_leaves_the_statistics_of_connectors():
    torch.manual_seed(0)
    student, teacher = (nn.Sequential(nn.Conv2d(3, width, 3)) for width in (4, 6))
    distiller = Distiller(teacher, {"t": Term(FeatureImitationLoss(), "0")})
    distiller.attach(student, (torch.randn(2, 3, 8, 8),))
    norms = [one for one in distiller.connectors.modules() if isinstance(one, nn.BatchNorm2d)]
    assert len(norms) == 1 and norms[0].training
    assert norms[0].num_batches_tracked == 0 and not norms[0].running_mean.any()


def test_connectors_and_teacher_follow_the_type():
    student, teacher = (nn.Sequential(nn.Conv2d(3, width, 3)) for width in (4, 6))
    distiller = Distiller(teacher, {"t": Term(FeatureImitationLoss(), "0")})
    distiller.attach(student, (torch.randn(2, 3, 8, 8),))
    assert distiller.double() is distiller
    moved = [*distiller.connectors.parameters(), *teacher.parameters()]
    assert len(moved) > 3 and all(one.dtype == torch.float64 for one in moved)


def test_idle_is_what_no_active_term_trains():
    connectors = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    losses = nn.ModuleDict({"b": nn.Linear(1, 1), "c": nn.Linear(1, 1)})
    expected = [*connectors["b"].parameters(), *losses["b"].parameters()]
    found = idle_parameters([connectors, losses], ["a", "c"])
    assert len(found) == 4 and all(one is other for one, other in zip(found, expected, strict=True))
