"""CKD-MKT: the formula by hand, which network gets a gradient, phases, the plain student."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch.nn import functional as F

from kd_cls.distilled import ADAPTER
from kd_core.checkpoint.load import CheckpointError
from kd_core.losses import RelationalAngleLoss, RelationalDistanceLoss
from kd_core.methods import CKDMKT
from kd_engine.build import TRAINING_ONLY
from kd_engine.evaluate import student_checkpoint

from ...kd_cls.toy_classifiers import STUDENT, TEACHER, ToyNetwork, batch
from .toy_methods import build, changed, losses, plain, train

OWN = dict(config=STUDENT, checkpoint=None)
PEERS = [
    dict(config=TEACHER, checkpoint=None),
    dict(config=dict(STUDENT, loss_weight=0.5), checkpoint=None),
]
FORKED = dict(STUDENT, network=dict(type="ForkedNetwork"))
PARTS = ("ce", "relation", "peers", "self")
ODD = dict(alpha=0.5, beta=2.0, gamma=3.0, beta1=0.7, beta2=0.3, relation_scale=5.0,
           temperature=2.0)  # fmt: skip
PLAIN = dict(alpha=1.0, beta=1.0, gamma=1.0, beta1=2.0, beta2=1.0, relation_scale=1.0,
             temperature=4.0)  # METHODS: the defaults  # fmt: skip


def ckd(count=1, start="scratch", **options):
    options = dict(student=STUDENT, pretrained=OWN, peers=PEERS[:count]) | options
    return build("CKDMKT", start=start, **options)


def networks(model):
    return [model, *model.distiller.peers]


def copies(model):
    return [one.model for one in model.distiller.teachers.values()]


def states(nets):
    return [copy.deepcopy(net.state_dict()) for net in nets]


def divergence(own, other, temperature):
    p, log_q = (other.detach() / temperature).softmax(1), (own / temperature).log_softmax(1)
    return temperature**2 * (p * (p.log() - log_q)).sum() / len(own)


def relation(own, other, beta1):
    """RKD-D and RKD-A with all differences in memory."""
    found = []
    for x in (own, other.detach()):
        steps = x[None] - x[:, None]  # (N, N, D)
        squares = steps.square().sum(2)
        lengths = torch.where(squares > 0, squares.clamp(min=1e-20).sqrt(), 0.0)
        units = steps / lengths.clamp(min=1e-12)[..., None]
        cosines = torch.einsum("ijd,ikd->ijk", units, units)
        found.append((lengths * (lengths > 0).sum() / lengths.sum(), cosines))
    distance, angle = (F.smooth_l1_loss(one, two) for one, two in zip(*found, strict=True))
    return distance + beta1 * angle


def by_hand(model, alpha, beta, gamma, beta1, beta2, relation_scale, temperature):
    """The losses of each network, in plain torch."""
    nets, frozen = networks(model), copies(model)
    model.distiller.detach()
    images = model.data_preprocessor(batch(), True)["inputs"]
    features, scores = [], []
    for net in nets:
        net.network.pool.register_forward_hook(lambda _, inputs, output: features.append(output))
        scores.append(net.train()(images))
    found = []
    for k, net in enumerate(nets):
        others = [j for j in range(len(nets)) if j != k]
        with torch.no_grad():
            before = frozen[k].eval()(images)
        relations = [relation(features[k], features[j], beta1) for j in others]
        mutual = [divergence(scores[k], scores[j], 1.0) for j in others]
        found.append([
            alpha * net.loss_weight * F.cross_entropy(scores[k], batch()["labels"]),
            beta * relation_scale * sum(relations) / len(others),
            beta * beta2 * sum(mutual) / len(others),
            gamma * divergence(scores[k], before, temperature),
        ])  # fmt: skip
    return nets, found


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("options", [{}, ODD], ids=["defaults", "odd"])
def test_value_and_gradient_by_hand(count, options):
    model = ckd(count, **options)
    found = losses(model)
    nets, hand = by_hand(ckd(count, **options), **(options or PLAIN))
    prefixes = ["loss", *(f"loss_peer{k}" for k in range(1, count + 1))]
    assert set(found) == {f"{prefix}_{part}" for prefix in prefixes for part in PARTS}
    sum(found.values()).backward()
    for prefix, values, own, net in zip(prefixes, hand, networks(model), nets, strict=True):
        for part, value in zip(PARTS, values, strict=True):
            assert value > 1e-3
            torch.testing.assert_close(found[f"{prefix}_{part}"], value, msg=f"{prefix} {part}")
        expected = torch.autograd.grad(sum(values), list(net.network.parameters()))
        for parameter, gradient in zip(own.network.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-4)


def test_each_loss_gives_gradient_to_its_own_network_alone():
    model = ckd(2)
    weights = [net.network.stage1[0].weight for net in networks(model)]
    found = losses(model)
    for k, prefix in enumerate(["loss", "loss_peer1", "loss_peer2"]):
        for part in PARTS:
            gradients = torch.autograd.grad(
                found[f"{prefix}_{part}"], weights, retain_graph=True, allow_unused=True
            )
            moved = [g is not None and bool(g.any()) for g in gradients]
            assert moved == [j == k for j in range(3)], (prefix, part)


@pytest.mark.parametrize("start", ["pretrained", "scratch"])
def test_all_learn_and_the_copies_do_not_move(start):
    model = ckd(2, start)
    before = states(networks(model)), states(copies(model))
    assert len(before[1]) == 3
    train(model)
    assert all(changed(*pair) for pair in zip(before[0], states(networks(model)), strict=True))
    assert not any(changed(*pair) for pair in zip(before[1], states(copies(model)), strict=True))
    parameters = [one for net in copies(model) for one in net.parameters()]
    assert all(one.grad is None and not one.requires_grad for one in parameters)


def test_weights_of_zero_train_as_alone():
    nothing = dict(beta=0.0, gamma=0.0)
    assert not changed(train(ckd(2, **nothing)), train(plain()))
    assert changed(train(ckd(2)), train(plain()))
    going_on, alone = ckd(2, "pretrained", **nothing), plain()
    alone.load_state_dict({k: v for k, v in going_on.state_dict().items() if k[:4] != "dist"})
    assert not changed(train(going_on), train(alone))


OFF = dict(beta=0.0, gamma=0.0)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (OFF, {"ce"}),
        (dict(gamma=0.0), {"ce", "relation", "peers"}),
        (dict(relation_scale=0.0), {"ce", "peers", "self"}),
        (dict(beta2=0.0), {"ce", "relation", "self"}),
        (dict(beta=0.0), {"ce", "self"}),
    ],
)
def test_what_weighs_nothing_costs_nothing(options, parts, monkeypatch):
    model = ckd(1, **options)
    assert bool(copies(model)) == ("self" in parts)
    if "relation" not in parts:
        monkeypatch.setattr(RelationalDistanceLoss, "forward", lambda *_: pytest.fail("it ran"))
    prefixes = ("loss", "loss_peer1")
    assert set(losses(model)) == {f"{prefix}_{part}" for prefix in prefixes for part in parts}


def test_angles_that_weigh_nothing_are_not_computed(monkeypatch):
    monkeypatch.setattr(RelationalAngleLoss, "forward", lambda *_: pytest.fail("it ran"))
    assert losses(ckd(1, beta1=0.0))["loss_relation"] > 0


def test_an_alpha_of_zero_keeps_the_losses_that_tell_who_diverges():
    found = losses(ckd(1, alpha=0.0))
    assert found["loss_ce"] == 0 and found["loss_peer1_ce"] == 0


@pytest.fixture
def first_phase(tmp_path):
    """Save a checkpoint of a classifier with its own random weights; returns the reference."""

    def save(config, seed):
        torch.manual_seed(seed)
        model = build_one(config)
        path = tmp_path / f"phase1_{seed}.pth"
        torch.save({"meta": {}, "state_dict": model.state_dict()}, path)
        return dict(config=config, checkpoint=str(path)), model.state_dict()

    return save


def build_one(config):
    return MODELS.build(Config(dict(model=config)).model)


def same(model, state):
    return not changed(state, model.state_dict())


def test_phase_two_goes_on_from_phase_one(first_phase):
    own, mine = first_phase(STUDENT, 7)
    other, theirs = first_phase(TEACHER, 8)
    model = ckd(start="pretrained", pretrained=own, peers=[other])
    model.init_weights()  # as the runner does
    assert same(model, mine) and same(model.distiller.peers[0], theirs)
    assert all(map(same, copies(model), (mine, theirs)))
    train(model)
    assert not same(model, mine) and all(map(same, copies(model), (mine, theirs)))


def test_or_begins_anew_and_remembers_phase_one(first_phase):
    own, mine = first_phase(STUDENT, 7)
    other, theirs = first_phase(STUDENT, 8)
    model = ckd(start="scratch", pretrained=own, peers=[other, PEERS[1]])
    assert same(model, plain().state_dict()) and not same(model, mine)
    peers = model.distiller.peers
    assert not same(peers[0], theirs) and not same(peers[0], peers[1].state_dict())
    assert not same(model, peers[0].state_dict())
    assert all(map(same, copies(model), (mine, theirs)))


def test_random_numbers_go_on_as_without_peers():
    ckd(2)
    after = torch.rand(1)
    plain()
    assert torch.equal(after, torch.rand(1))


def test_networks_without_a_checkpoint_differ():
    nets = networks(ckd(1, "pretrained", peers=[PEERS[1]]))
    assert not same(nets[0], nets[1].state_dict())


def test_one_checkpoint_for_two_that_go_on_is_refused(first_phase):
    own, _ = first_phase(STUDENT, 7)
    with pytest.raises(ValueError, match="phase1_7.pth is named more than once.*randomness.seed"):
        ckd(start="pretrained", pretrained=own, peers=[own])
    assert ckd(start="scratch", pretrained=own, peers=[own])


@pytest.mark.parametrize("start", ["pretrained", "scratch"])
def test_the_copy_must_be_of_the_students_network(first_phase, start):
    own, _ = first_phase(TEACHER, 7)
    with pytest.raises(CheckpointError, match="phase 1 of the student .*phase1_7.pth.* not fit"):
        ckd(start=start, pretrained=own)


def test_a_checkpoint_of_another_network_is_refused(first_phase):
    other, _ = first_phase(TEACHER, 7)
    with pytest.raises(CheckpointError, match="phase1_7.pth does not fit"):
        ckd(peers=[dict(other, config=STUDENT)])


def test_only_what_is_trained_is_saved_and_none_of_it_exported():
    state = ckd(2).state_dict()
    assert {key for key in state if not key.startswith(TRAINING_ONLY)} == set(plain().state_dict())
    beside = {".".join(key.split(".")[:3]) for key in state if key.startswith("distiller.")}
    assert beside == {"distiller.iteration", "distiller.peers.0", "distiller.peers.1"}
    config = Config(
        dict(model=dict(type="kd_cls.CKDMKT", student=STUDENT, pretrained=OWN, peers=PEERS))
    )
    exported = student_checkpoint({"state_dict": state}, config)
    plain().load_state_dict(exported["state_dict"], strict=True)
    assert "peers" not in exported["meta"]["cfg"] and "pretrained" not in exported["meta"]["cfg"]


def test_networks_are_listed_for_people():
    assert [(name, trained) for name, _, trained in ckd(2).distiller.networks()] == [
        ("peer 1 (ToyNetwork)", True),
        ("peer 2 (ToyNetwork)", True),
        ("the pretrained student", False),
        ("the pretrained peer 1 (ToyNetwork)", False),
        ("the pretrained peer 2 (ToyNetwork)", False),
    ]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize(
    ("number", "name"),
    [(0, "the student"), (1, r"peer 1 \(ToyNetwork\)"), (2, r"peer 2 \(ToyNetwork\)")],
)
def test_who_diverges_is_named(number, name, alpha):
    model = ckd(2, alpha=alpha)
    with torch.no_grad():
        networks(model)[number].network.classifier.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=f"at iteration 0 {name} diverged"):
        losses(model)


def test_each_network_may_have_a_layer_of_its_own():
    one = losses(ckd(layer=["network.pool", "network.stage3"]))
    two = losses(ckd())
    assert one["loss_relation"] != two["loss_relation"]
    assert torch.equal(one["loss_peers"], two["loss_peers"])


def test_without_relations_no_layer_is_needed():
    assert "loss_relation" not in losses(ckd(layer="network.gone", relation_scale=0.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(start="fresh"), r"start must be one of \['pretrained', 'scratch'\].*'fresh'"),
        (dict(peers=OWN), r"one or more dict\(config=, checkpoint=\), but it is a ConfigDict"),
        (dict(peers=[]), "but it is a list of 0"),
        (dict(peers=[dict(config=TEACHER)]), "peers.0 must have config and checkpoint"),
        (dict(pretrained=dict(checkpoint="a.pth")), "pretrained must have config and checkpoint"),
        (dict(peers=[PEERS[0], dict(PEERS[1], weight=1)]), "peers.1 must have.*'weight'"),
        (dict(peers=[dict(config=dict(STUDENT, network=dict(type="ToyNetwork", num_classes=7)),
                          checkpoint=None)]), r"student has 10 and peer 1 \(ToyNetwork\) has 7"),
        (dict(temperature=0.0), "temperature must be above 0"),
        (dict(layer="network.gone"), "has no layer 'network.gone'"),
        (dict(layer=["network.pool"]), "one for each of the 2 .* but there are 1"),
        (dict(layer="network.pool[0]"), "asks for \\[0\\], but 'network.pool' returns one tensor"),
        *((dict([(name, value)]), f"{name} must be finite and at least 0, but it is {value}")
          for name in ODD if name != "temperature" for value in (-1.0, float("inf"))),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        ckd(**options)


@MODELS.register_module(force=True)
class ForkedNetwork(ToyNetwork):
    """Has a layer of two outputs."""

    def __init__(self):
        super().__init__()
        self.fork = Fork()

    def forward(self, images):
        self.fork(images)
        return super().forward(images)


class Fork(torch.nn.Module):
    def forward(self, images):
        return images, images.flatten()


@pytest.mark.parametrize("layer", ["network.fork", "network.fork[1]"])
@pytest.mark.parametrize(
    ("options", "layers", "name"),
    [
        (dict(student=FORKED, pretrained=dict(OWN, config=FORKED)), (0, 1), "student"),
        (dict(peers=[dict(config=FORKED, checkpoint=None)]), (1, 0), "peer 1"),
    ],
)
def test_a_layer_must_give_a_row_for_each_image(options, layers, name, layer):
    both = [layer, "network.pool"]
    with pytest.raises(ValueError, match=f"layer of the {name}.* must give one row"):
        ckd(layer=[both[number] for number in layers], **options)


def test_there_must_be_a_copy_of_each_network():
    peer, frozen = build_one(TEACHER), next(iter(ckd().distiller.teachers.values()))
    with pytest.raises(ValueError, match="each of 2 networks.*but there are 1"):
        CKDMKT({"peer 1": peer}, [frozen], adapter=ADAPTER)
