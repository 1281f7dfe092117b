"""Self-distillation from the average of the student's weights, and from snapshots."""

import copy

import pytest
import torch

from kd_core.losses import SoftTargetLoss

from ...kd_cls.toy_classifiers import STUDENT, batch
from .toy_methods import build, losses


def make(**options):
    model = build("SelfTeacher", student=STUDENT, **options)
    model.distiller.set_run_length(2, 8)
    return model


def move(model):
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.1)


def weight(network):
    return network.network.classifier.weight.detach().clone()


def test_the_average_by_hand():
    model = make(momentum=0.75)
    with torch.no_grad():
        model.network.classifier.weight.fill_(3.0)  # as if loaded after it was built
    earlier = model.distiller.earlier
    losses(model)
    assert torch.equal(weight(earlier), weight(model))  # at first it is the student
    move(model)
    losses(model)
    torch.testing.assert_close(weight(earlier), torch.full_like(weight(earlier), 3.025))
    mean = earlier.network.stage1[1].running_mean
    assert mean.any() and not torch.equal(mean, model.network.stage1[1].running_mean)


def test_snapshots_are_taken_at_the_start_of_an_epoch():
    model = make(every=1)
    seen = []
    for _ in range(4):  # of two epochs
        losses(model)
        seen.append(torch.equal(weight(model.distiller.earlier), weight(model)))
        move(model)
    assert seen == [True, False, True, False]


def test_the_loss_is_soft_targets_of_the_earlier_self():
    model = make(momentum=0.75, loss_weight=2.0, temperature=3.0)
    assert losses(model)["loss_self"].abs() < 1e-6  # batch norms train in both: they are equal
    with torch.no_grad():
        model.network.stage1[0].weight.mul_(-1)
    found = losses(model)["loss_self"]
    images = model.data_preprocessor(batch(), True)["inputs"]
    own, before = copy.deepcopy(model), copy.deepcopy(model.distiller.earlier)
    own.distiller.detach()
    expected = SoftTargetLoss(3.0, 2.0)(own.train()(images), before.train()(images))
    assert expected > 1e-4
    torch.testing.assert_close(found, expected)
    found.backward()
    assert all(p.grad is None for p in model.distiller.earlier.parameters())
    assert model.network.stage1[0].weight.grad.any()


def test_without_a_weight_the_earlier_self_does_not_run():
    model = make(loss_weight=0.0)
    model.distiller.earlier.forward = None  # whoever calls it fails
    assert list(losses(model)) == ["loss_ce"]


def test_it_is_saved_under_the_distiller_and_gets_no_gradient():
    model = make()
    names = [name for name in model.state_dict() if "earlier" in name]
    assert all(name.startswith("distiller.earlier.") for name in names)
    assert len(names) == len([name for name in model.state_dict() if name.startswith("network.")])
    assert not any(p.requires_grad for p in model.distiller.earlier.parameters())


def test_the_ramp_needs_the_length_of_an_epoch():
    model = build("SelfTeacher", student=STUDENT, ramp=4.0)
    with pytest.raises(ValueError, match="SelfTeacher needs the length of an epoch"):
        losses(model)


def test_a_momentum_of_1_is_refused():
    with pytest.raises(ValueError, match="momentum must be below 1, but it is 1"):
        make(momentum=1.0)


def test_snapshots_lie_whole_epochs_apart():
    with pytest.raises(ValueError, match="every must be a whole number of epochs, but it is 0.5"):
        make(every=0.5)
