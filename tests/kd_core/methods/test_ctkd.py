"""CTKD: the formula by hand, which network gets a gradient, and that the student stays plain."""

import copy

import pytest
import torch
from torch.nn import functional as F

from kd_engine.build import TRAINING_ONLY

from ...kd_cls.toy_classifiers import STUDENT, TEACHER, batch
from .toy_methods import STAGES, build, changed, losses, outputs, plain, train

SCRATCH = dict(STUDENT, network=dict(type="ToyNetwork", width=5))


def ctkd(scratch=SCRATCH, teacher=TEACHER, **options):
    expert = dict(config=teacher, checkpoint=None)
    return build("CTKD", student=STUDENT, scratch=scratch, teacher=expert, **options)


def attention(one, other):
    pairs = [F.normalize(f.square().mean(1).flatten(1)) for f in (one, other)]
    return (pairs[0] - pairs[1]).square().mean()


def networks(model):
    method = model.distiller
    return model, method.scratch, method.teachers["the expert teacher"].model


@pytest.mark.parametrize("attention_on", ["student", "scratch", "both"])
def test_the_formula_by_hand(attention_on):
    model = ctkd(attention_on=attention_on)
    alone = copy.deepcopy(model)
    alone.distiller.detach()
    (own, stages), (helper, others), (_, experts) = (
        outputs(network, STAGES, training)
        for network, training in zip(
            (alone, *networks(model)[1:]), (True, True, False), strict=True
        )
    )
    labels = batch()["labels"]
    expected = dict(
        loss_ce=F.cross_entropy(own, labels),
        loss_scratch_ce=F.cross_entropy(helper, labels),
        loss_scratch=0.03 / len(own) * (own - helper).square().sum(),
    )
    for name, learner in dict(student=stages, scratch=others).items():
        if attention_on in (name, "both"):
            pairs = zip(learner, experts, strict=True)
            expected[f"loss_attention_{name}"] = 1000 * sum(attention(*pair) for pair in pairs)
    found = losses(model)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)


def test_gradients_go_to_their_own_network():
    model = ctkd()
    student, scratch, expert = networks(model)
    weights = [one.network.stage1[0].weight for one in (student, scratch)]
    found = losses(model)
    for name, whose in dict(loss_scratch=0, loss_attention_student=0, loss_scratch_ce=1).items():
        gradients = torch.autograd.grad(found[name], weights, retain_graph=True, allow_unused=True)
        assert [g is not None and bool(g.any()) for g in gradients] == [whose == 0, whose == 1], (
            name
        )
    sum(value for name, value in found.items() if "loss" in name).backward()
    assert all(p.grad is None and not p.requires_grad for p in expert.parameters())


def test_the_gradient_by_hand():
    model = ctkd(gamma=0.5, beta=0.0)
    weight = model.network.classifier.bias
    (found,) = torch.autograd.grad(losses(model)["loss_scratch"], [weight])
    copies = ctkd(gamma=0.5, beta=0.0)
    copies.distiller.detach()
    own, _ = outputs(copies, [], True)
    helper, _ = outputs(model.distiller.scratch, [], True)
    expected = (2 * 0.5 / len(own) * (own - helper)).sum(0)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-5)


def test_the_scratch_teacher_learns_and_the_expert_does_not_move():
    model = ctkd()
    _, scratch, expert = networks(model)
    before = copy.deepcopy(scratch.state_dict()), copy.deepcopy(expert.state_dict())
    train(model)
    assert changed(before[0], scratch.state_dict())
    assert not changed(before[1], expert.state_dict())


def test_weights_of_zero_train_as_alone_and_do_not_run_the_expert():
    model = ctkd(gamma=0.0, beta=0.0)
    _, _, expert = networks(model)
    expert.register_forward_hook(lambda *_: pytest.fail("the expert ran"))
    assert not changed(train(model), train(plain()))
    assert changed(train(ctkd()), train(plain()))


def test_only_what_is_trained_is_saved_and_all_of_it_beside_the_student():
    state = ctkd().state_dict()
    own = {key for key in state if not key.startswith(TRAINING_ONLY)}
    assert own == set(plain().state_dict())
    beside = {key for key in state if key.startswith("distiller.")}
    assert any(key.startswith("distiller.scratch.network.") for key in beside)
    assert {key.split(".")[1] for key in beside} == {"iteration", "scratch"}


def test_a_scratch_teacher_that_diverges_is_named():
    model = ctkd()
    with torch.no_grad():
        model.distiller.scratch.network.classifier.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="at iteration 0 the scratch teacher diverged"):
        losses(model)


def test_a_student_that_diverges_is_named():
    model = ctkd()
    with torch.no_grad():
        model.network.classifier.weight.fill_(float("inf"))
    with pytest.raises(FloatingPointError, match="the student diverged"):
        losses(model)


def test_other_normalization_is_the_networks_own():
    other = dict(type="ImgDataPreprocessor", mean=[127.5] * 3, std=[127.5] * 3)
    model = ctkd(scratch=dict(SCRATCH, data_preprocessor=other))
    seen = []
    scratch = model.distiller.scratch.network
    scratch.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    losses(model)
    assert torch.allclose(seen[0], (batch()["inputs"].float() - 127.5) / 127.5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(attention_on="teacher"), "attention_on must be one of student, scratch, both"),
        (dict(gamma=-1.0), "gamma must be finite and at least 0, but it is -1.0"),
        (dict(beta=float("nan")), "must be finite"),
        (dict(layers=dict(expert=STAGES)), r"not of \['expert'\]"),
        (dict(layers=dict(scratch=STAGES[:2])), "2 of the scratch teacher"),
        (dict(layers=dict(teacher=["network.stage9"])), "no layer 'network.stage9'"),
        (dict(scratch=dict(SCRATCH, network=dict(type="ToyNetwork", num_classes=7))),
         "student has 10 and the scratch teacher has 7"),
        (dict(teacher=dict(TEACHER, network=dict(type="ToyNetwork", num_classes=7))),
         "student has 10 and the expert teacher has 7"),
        (dict(scratch=dict(SCRATCH, network=dict(type="ToyNetwork", told=False),
                           num_classes=10)), "does not name its stages"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        ctkd(**options)
