"""BYOT: each term and its gradient by hand, and that the student stays plain."""

import copy

import pytest
import torch
from torch.nn import functional as F

from kd_core.checkpoint.load import load_weights
from kd_engine.build import TRAINING_ONLY

from ...kd_cls.toy_classifiers import STUDENT, batch
from .toy_heads import divergence, head_by_hand, run, same_gradients
from .toy_methods import STAGES, build, changed, losses, plain, train


def byot(student=STUDENT, **options):
    return build("BYOT", student=student, **options)


def parameters(student, heads):
    return [*student.network.parameters(), *heads.parameters()]


@pytest.mark.parametrize(
    ("alpha", "feature", "temperature"), [(0.3, 0.03, 3.0), (0.8, 0.5, 1.5), (1.0, 0.2, 3.0)]
)
def test_the_formula_and_its_gradient_by_hand(alpha, feature, temperature):
    usual = (alpha, feature, temperature) == (0.3, 0.03, 3.0)  # the defaults
    model = byot() if usual else byot(alpha=alpha, feature=feature, temperature=temperature)
    alone = copy.deepcopy(model)
    heads = alone.distiller.heads.train()
    alone.distiller.detach()
    logits, maps, pooled = run(alone, True)
    outputs = [head_by_hand(heads[i], maps[i], True) for i in (0, 1)]
    labels = batch()["labels"]
    distances = [(f - pooled.detach()).square().sum() / len(labels) for f, _ in outputs]
    expected = dict(
        loss_ce=F.cross_entropy(logits, labels),
        loss_response=alpha * sum(divergence(z, logits, temperature) for _, z in outputs),
        loss_feature=feature * sum(distances),
    )
    if alpha < 1:
        for number, (_, z) in enumerate(outputs, start=1):
            expected[f"loss_head{number}_ce"] = (1 - alpha) * F.cross_entropy(z, labels)
    own = parameters(model, model.distiller.heads)
    found = losses(model)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)
    same_gradients(found, expected, own, parameters(alone, heads))


def test_the_last_stage_learns_from_labels_alone():
    model = byot()
    weights = [model.network.classifier.weight, model.network.stage3[0].weight]
    found = losses(model)
    for name in ("loss_response", "loss_feature", "loss_head1_ce", "loss_head2_ce"):
        gradients = torch.autograd.grad(found[name], weights, retain_graph=True, allow_unused=True)
        assert not any(one is not None and one.any() for one in gradients), name
    gradients = torch.autograd.grad(found["loss_ce"], weights)
    assert all(one.any() for one in gradients)


def test_an_equal_vector_and_equal_logits_leave_labels_alone():
    model = byot()
    with torch.no_grad():
        for module in (model.network, *model.distiller.heads):
            module.classifier.weight.zero_()
            module.classifier.bias.zero_()
    assert abs(losses(model)["loss_response"]) < 1e-6
    for module in (*model.distiller.heads, model.network.stage3):
        norm = module.convolution[1] if hasattr(module, "convolution") else module[1]
        torch.nn.init.zeros_(norm.weight)
        torch.nn.init.ones_(norm.bias)
    assert abs(losses(model)["loss_feature"]) < 1e-6


def test_weights_of_zero_are_not_there():
    assert set(losses(byot(alpha=0.0, feature=0.0))) == {
        "loss_ce", "loss_head1_ce", "loss_head2_ce",
    }  # fmt: skip


def test_the_heads_learn_and_change_the_student():
    model = byot()
    before = copy.deepcopy(model.distiller.heads.state_dict())
    assert changed(train(model), train(plain()))
    after = model.distiller.heads.state_dict()
    assert all(not torch.equal(value, after[key]) for key, value in before.items())


def test_heads_have_the_size_of_the_vector_that_is_classified():
    model = byot(layers=STAGES[:2])  # the last of them has 8 channels, the vector 16
    (head,) = model.distiller.heads
    assert head.classifier.in_features == 16
    assert "loss_feature" in losses(model)


def test_the_checkpoint_is_the_plain_students_beside_the_heads():
    model = byot()
    train(model)
    exported = plain()
    load_weights(exported, model.state_dict(), ignore=TRAINING_ONLY)
    images = model.data_preprocessor(batch(), False)["inputs"]
    assert torch.equal(exported.eval()(images), model.eval()(images))
    beside = {key.split(".")[1] for key in model.state_dict() if key.startswith("distiller.")}
    assert beside == {"iteration", "heads"}
    assert model.distiller.networks() == []


def test_what_was_detached_attaches_again():
    model = byot()
    method = model.distiller
    method.detach()
    assert set(losses(method.attach(model))) == set(losses(byot()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(alpha=1.5), "alpha must be from 0 to 1"),
        (dict(alpha=-0.1), "alpha must be from 0 to 1, but it is -0.1"),
        (dict(feature=-1.0), "feature must be finite and at least 0"),
        (dict(feature=float("nan")), "feature must be finite"),
        (dict(feature=float("inf")), "feature must be finite"),
        (dict(temperature=0.0), "temperature must be above 0"),
        (dict(layers=STAGES[:1]), "at least 2 stages"),
        (dict(layers=["network.stage9"]), "no layer 'network.stage9'"),
        (dict(pooled="network.flat"), "no layer 'network.flat'"),
        (dict(student=dict(STUDENT, network=dict(type="ToyNetwork", told=False), num_classes=10)),
         "does not name its stages"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        byot(**options)
