"""Adversarial distillation: whose turn it is, values by hand, and how it ends."""

import pytest
import torch
from torch.nn import functional as F

from ...kd_cls.toy_classifiers import STUDENT, TEACHER
from .toy_methods import build, losses

TRAINED = dict(config=TEACHER, checkpoint=None)


def make(**options):
    given = dict(student=STUDENT, teacher=TRAINED, alpha=0.0, weight=0.5)
    model = build("Adversarial", **given | options)
    model.distiller.set_run_length(2, 20)
    return model


def seen(model):
    """What the discriminator says of teacher and student, by hand."""
    method = model.distiller
    output = {}
    handle = model.logits.register_forward_hook(lambda m, a, out: output.update(student=out))
    found = losses(model)
    handle.remove()
    return found, method.discriminator(output["student"])


def test_turns_and_values_by_hand():
    model = make()
    first, student = seen(model)
    assert list(first) == ["loss_ce", "loss_discriminator", "accuracy_discriminator"]
    first["loss_discriminator"].backward()
    assert all(p.grad is not None for p in model.distiller.discriminator.parameters())
    assert all(p.grad is None for p in model.network.parameters())
    model.zero_grad()
    second, student = seen(model)
    assert list(second) == ["loss_ce", "loss_adversarial"]
    expected = -0.5 * student.sigmoid().log().mean()
    torch.testing.assert_close(second["loss_adversarial"], expected)
    second["loss_adversarial"].backward()
    assert all(p.grad is None for p in model.distiller.discriminator.parameters())
    assert model.network.classifier.weight.grad.any()


def test_the_discriminators_loss_by_hand():
    method = make().distiller
    student, teacher = torch.randn(6, 10), torch.randn(6, 10)
    found = method._tell(student, teacher)
    real, fake = (method.discriminator(one).sigmoid() for one in (teacher, student))
    expected = -(real.log().mean() + (1 - fake).log().mean())
    torch.testing.assert_close(found["loss_discriminator"], expected)
    right = torch.cat([real > 0.5, fake < 0.5]).float().mean()
    torch.testing.assert_close(found["accuracy_discriminator"], 100 * right)


def test_layers_of_different_width_are_pooled_and_connected():
    model = make(layer="network.stage3")
    assert model.distiller.connector.project.weight.shape == (24, 16)
    first, second = losses(model), losses(model)
    first["loss_discriminator"].backward()
    assert model.distiller.connector.project.weight.grad is None
    second["loss_adversarial"].backward()
    assert model.distiller.connector.project.weight.grad.any()
    assert model.network.stage3[0].weight.grad.any()


def test_it_ends_with_a_word_when_the_discriminator_has_won():
    model = make(window=1, alpha=1.0)
    with torch.no_grad():
        model.distiller.discriminator[4].weight.zero_()
        model.distiller.discriminator[4].bias.fill_(0.0)  # right about neither
    with pytest.warns(UserWarning, match="has learned nothing, it was right in 0 % of the last 1"):
        losses(model)
    assert list(losses(model)) == ["loss_ce", "loss_soft_target"]
    again = make(window=1, alpha=1.0)
    again.load_state_dict(model.state_dict())
    assert again.distiller.finished and "loss_adversarial" not in losses(again)


def test_it_has_won_above_95_percent():
    method = make(window=2).distiller
    method.accuracy.copy_(torch.tensor([1.94, 2.0]))
    method.set_iteration(2)
    with pytest.warns(UserWarning, match="at iteration 2: the discriminator has won, .* 97 %"):
        method._judge()
    method.finished.fill_(False)
    method.accuracy.copy_(torch.tensor([1.6, 2.0]))
    method._judge()
    assert not method.finished and not method.accuracy.any()


def test_the_ranks_end_it_together(monkeypatch):
    method = make(window=1).distiller
    method.accuracy.copy_(torch.tensor([0.7, 1.0]))  # within the limits, were it alone
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(
        torch.distributed, "all_reduce", lambda one: one.add_(torch.tensor([0.2, 1.0]))
    )
    with pytest.warns(UserWarning, match="has learned nothing, it was right in 45 %"):
        method._judge()
    assert method.finished


def test_the_weight_is_ramped():
    model = make(ramp=5.0)
    model.distiller.set_iteration(1)
    found, student = seen(model)
    expected = 0.5 * 0.00673795 * F.softplus(-student).mean()
    torch.testing.assert_close(found["loss_adversarial"], expected)


def test_without_weights_the_teacher_does_not_run():
    model = make(weight=0.0)
    model.distiller.teachers["the teacher"].model.forward = None  # whoever calls it fails
    assert list(losses(model)) == ["loss_ce"]


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(window=0), "width and window must be at least 1, but they are 128 and 0"),
        (dict(layer="network.stage3", teacher_layer="network.stage4"), "no layer 'network.stage4'"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
