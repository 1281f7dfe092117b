"""DML: the formula by hand, which network gets a gradient, and that the student stays plain."""

import pytest
import torch
from mmengine.config import Config
from torch.nn import functional as F

from kd_engine.build import TRAINING_ONLY
from kd_engine.evaluate import student_checkpoint

from ...kd_cls.toy_classifiers import STUDENT, TEACHER, batch
from .toy_methods import build, changed, losses, plain, train

PEERS = [TEACHER, STUDENT, dict(STUDENT, loss_weight=0.5)]  # the last two as large as the student


def dml(count=1, peers=None, **options):
    return build("DML", student=STUDENT, peers=peers or PEERS[:count], **options)


def networks(model):
    return [model, *model.distiller.peers]


def by_hand(model, temperature, weight):
    """The losses of each network, in plain torch."""
    nets = networks(model)
    model.distiller.detach()
    images = model.data_preprocessor(batch(), True)["inputs"]
    scores = [net.train()(images) for net in nets]
    found = []
    for k, own in enumerate(scores):
        log_q, mutual = (own / temperature).log_softmax(1), []
        for p in [(s.detach() / temperature).softmax(1) for j, s in enumerate(scores) if j != k]:
            mutual.append(temperature**2 * (p * (p.log() - log_q)).sum() / len(own))
        entropy = nets[k].loss_weight * F.cross_entropy(own, batch()["labels"])
        found.append((entropy, weight * sum(mutual) / len(mutual)))
    return nets, found


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, dict(temperature=3.0, loss_weight=0.4)])
def test_value_and_gradient_by_hand(count, options):
    model = dml(count, **options)
    found = losses(model)
    nets, hand = by_hand(
        dml(count, **options), options.get("temperature", 1.0), options.get("loss_weight", 1.0)
    )
    prefixes = ["loss", *(f"loss_peer{k}" for k in range(1, count + 1))]
    assert set(found) == {f"{p}_{part}" for p in prefixes for part in ("ce", "peers")}
    sum(found.values()).backward()
    for prefix, (entropy, mutual), own, net in zip(
        prefixes, hand, networks(model), nets, strict=True
    ):
        torch.testing.assert_close(found[f"{prefix}_ce"], entropy)
        torch.testing.assert_close(found[f"{prefix}_peers"], mutual)
        assert mutual > 1e-3
        expected = torch.autograd.grad(entropy + mutual, list(net.network.parameters()))
        for parameter, gradient in zip(own.network.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5)


def test_each_loss_gives_gradient_to_its_own_network_alone():
    model = dml(2)
    weights = [net.network.stage1[0].weight for net in networks(model)]
    found = losses(model)
    for k, prefix in enumerate(["loss", "loss_peer1", "loss_peer2"]):
        for part in ("ce", "peers"):
            gradients = torch.autograd.grad(
                found[f"{prefix}_{part}"], weights, retain_graph=True, allow_unused=True
            )
            assert [g is not None and bool(g.any()) for g in gradients] == [
                j == k for j in range(3)
            ]


def test_all_start_apart_and_the_student_as_alone():
    model = dml(3)
    first = [net.network.stage1[0].weight for net in networks(model) if net is not model]
    same = [model.network.stage1[0].weight, *first[1:]]  # those of one size
    assert not any(torch.equal(a, b) for i, a in enumerate(same) for b in same[:i])
    assert not changed(plain().state_dict(), model.state_dict())
    dml(3)
    after = torch.rand(1)
    plain()
    assert torch.equal(after, torch.rand(1))


def test_one_optimizer_updates_all():
    model = dml(2)
    before = [
        {key: value.clone() for key, value in net.state_dict().items()} for net in networks(model)
    ]
    train(model)
    for old, net in zip(before, networks(model), strict=True):
        new = net.state_dict()
        assert all(not torch.equal(old[k], new[k]) for k in old if k.endswith(".weight"))


def test_a_weight_of_zero_trains_as_alone():
    assert not changed(train(dml(2, loss_weight=0.0)), train(plain()))
    assert changed(train(dml(2)), train(plain()))
    assert set(losses(dml(1, loss_weight=0.0))) == {"loss_ce", "loss_peer1_ce"}


def test_peers_are_saved_beside_the_student_and_not_exported():
    state = dml(2).state_dict()
    assert {key for key in state if not key.startswith(TRAINING_ONLY)} == set(plain().state_dict())
    beside = {".".join(key.split(".")[:3]) for key in state if key.startswith("distiller.")}
    assert beside == {"distiller.iteration", "distiller.peers.0", "distiller.peers.1"}
    config = Config(dict(model=dict(type="kd_cls.DML", student=STUDENT, peers=PEERS[:2])))
    exported = student_checkpoint({"state_dict": state}, config)
    plain().load_state_dict(exported["state_dict"], strict=True)
    assert "peers" not in exported["meta"]["cfg"]


@pytest.mark.parametrize("number", [1, 2])
def test_a_peer_that_diverges_is_named(number):
    model = dml(2)
    with torch.no_grad():
        networks(model)[number].network.classifier.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=rf"0 peer {number} \(ToyNetwork\) diverged"):
        losses(model)


def test_a_student_that_diverges_is_named():
    model = dml()
    with torch.no_grad():
        model.network.classifier.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="at iteration 0 the student diverged"):
        losses(model)


def test_a_peer_is_called_as_its_config_names_it():
    network = dict(type="kd_cls.CifarNetwork", name="resnet8", num_classes=10)
    model = dml(peers=[dict(STUDENT, network=network)])
    assert "peer 1 (resnet8)" in dict(model.distiller.shape_table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(peers=dict(one=TEACHER)), "one or more model configs, but it is a ConfigDict"),
        (dict(peers=["resnet20"]), "must be a list of one or more model configs"),
        (dict(peers=[dict(type="torch.nn.Linear", in_features=3, out_features=10)]),
         r"peer 1 \(torch.nn.Linear\) must be a kd_cls.Classifier"),
        (dict(peers=[STUDENT, dict(TEACHER, network=dict(type="ToyNetwork", num_classes=7))]),
         r"student has 10 and peer 2 \(ToyNetwork\) has 7"),
        (dict(loss_weight=-1.0), "at least 0, but it is -1.0"),
        (dict(loss_weight=float("nan")), "must be finite"),
        (dict(temperature=0.0), "temperature must be above 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        dml(**options)


def test_no_peers_are_refused():
    with pytest.raises(ValueError, match="one or more model configs, but it is a list of 0"):
        build("DML", student=STUDENT, peers=[])
