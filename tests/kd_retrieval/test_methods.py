"""DML and CKD-MKT for embedders: similarities in the place of classes, by hand."""

import copy

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS

from kd_core.losses import RelationalAngleLoss, RelationalDistanceLoss
from kd_engine.build import TRAINING_ONLY
from kd_engine.evaluate import student_checkpoint

SMALL = dict(type="kd_retrieval.TimmTrunk", name="resnet18", options=dict(channels=(4, 4, 8, 8)))
WIDE = dict(type="kd_retrieval.TimmTrunk", name="resnet18", options=dict(channels=(4, 8, 8, 12)))
CONTRAST = dict(loss=dict(type="ContrastiveLoss"))
STUDENT = dict(type="kd_retrieval.Embedder", trunk=SMALL, dim=6, criterion=CONTRAST)
PEER = dict(type="kd_retrieval.Embedder", trunk=WIDE, dim=10, criterion=CONTRAST)  # another size
OWN, OTHER = dict(config=STUDENT, checkpoint=None), dict(config=PEER, checkpoint=None)
METHODS = dict(
    DML=dict(peers=[PEER, STUDENT]),
    CKDMKT=dict(pretrained=OWN, peers=[OTHER, OWN], start="scratch"),
)
MINE = dict(DML=[("peers", 1.0)], CKDMKT=[("relation", None), ("peers", 1.0), ("self", 4.0)])


def build(kind, **changes):
    torch.manual_seed(0)
    options = METHODS[kind] | changes
    return MODELS.build(ConfigDict(type=f"kd_retrieval.{kind}", student=STUDENT, **options))


def plain():
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(copy.deepcopy(STUDENT)))


def batch():
    images = torch.randint(0, 256, (6, 3, 40, 40), generator=torch.Generator().manual_seed(1))
    return dict(inputs=images.to(torch.uint8), labels=torch.tensor([0, 0, 1, 1, 2, 2]),
                ids=torch.arange(6))  # fmt: skip


def losses(model):
    model.train()
    return model(**model.data_preprocessor(batch(), True), mode="loss")


def embeddings(networks, training):
    inputs = networks[0].data_preprocessor(batch(), True)["inputs"]
    return [copy.deepcopy(net).train(training)(inputs) for net in networks]


def probabilities(found, temperature):
    """Softmax over 10 times the cosines with the others, one row at a time."""
    rows = []
    for i, one in enumerate(found):
        others = torch.cat([found[:i], found[i + 1 :]])
        rows.append((10 * torch.cosine_similarity(one[None], others) / temperature).softmax(0))
    return torch.stack(rows)


def divergence(own, other, temperature):
    p, q = probabilities(other, temperature), probabilities(own, temperature)
    return temperature**2 * (p * (p / q).log()).sum() / len(own)


def test_camkd_weights_teachers_by_the_share_of_an_images_class():
    torch.manual_seed(0)
    teachers = dict(wide=OTHER, same=OWN)
    config = dict(type="kd_retrieval.CAMKD", student=STUDENT, teachers=teachers)
    model = MODELS.build(ConfigDict(config))
    frozen = [one.model for one in model.distiller.teachers.values()]
    alone = copy.deepcopy(model)
    alone.distiller.detach()
    found = losses(model)
    (own,), others = embeddings([alone], True), embeddings(frozen, False)
    partner = [0, 0, 2, 2, 4, 4]  # the place of the other image of its class, itself left out
    doubts = [-probabilities(one, 1)[range(6), partner].log() for one in others]
    shares = 1 - torch.stack(doubts).softmax(0)
    expected = 0
    for one, weights in zip(others, shares, strict=True):
        p, q = probabilities(one, 4), probabilities(own, 4)
        expected = expected + (weights * 16 * (p * (p / q).log()).sum(1)).mean()
    torch.testing.assert_close(found["loss_responses"], expected)
    torch.testing.assert_close(found["weight_wide"], shares[0].mean())


@pytest.mark.parametrize("kind", METHODS)
def test_the_losses_by_hand(kind):
    model = build(kind)
    networks = [model, *model.distiller.peers]
    alone = copy.deepcopy(networks)
    alone[0].distiller.detach()
    frozen = [one.model for one in model.distiller.teachers.values()]
    found = losses(model)
    now = embeddings(alone, True)
    expected = {}
    for k, name in enumerate(["loss", "loss_peer1", "loss_peer2"]):
        others = [now[j] for j in range(3) if j != k]
        expected[f"{name}_metric"] = alone[k].criterion(now[k], batch()["labels"])
        mutual = [divergence(now[k], other, 1.0) for other in others]
        expected[f"{name}_peers"] = sum(mutual) / 2
        if kind == "CKDMKT":
            before = embeddings([frozen[k]], False)[0]
            expected[f"{name}_self"] = divergence(now[k], before, 4.0)
            related = [RelationalDistanceLoss()(now[k], other)
                       + 2 * RelationalAngleLoss()(now[k], other) for other in others]  # fmt: skip
            expected[f"{name}_relation"] = sum(related) / 2
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name, rtol=1e-4, atol=1e-6)
        assert value > 0


@pytest.mark.parametrize("kind", METHODS)
def test_each_loss_gives_gradient_to_its_own_network_alone(kind):
    model = build(kind)
    weights = [net.projection.weight for net in (model, *model.distiller.peers)]
    found = losses(model)
    for k, prefix in enumerate(["loss", "loss_peer1", "loss_peer2"]):
        for part in ["metric", *(name for name, _ in MINE[kind])]:
            gradients = torch.autograd.grad(
                found[f"{prefix}_{part}"], weights, retain_graph=True, allow_unused=True
            )
            moved = [g is not None and bool(g.any()) for g in gradients]
            assert moved == [j == k for j in range(3)], (prefix, part)


def train(model):
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    model.train()
    for _ in range(2):
        model.train_step(batch(), wrapper)
    return {key: value for key, value in model.state_dict().items() if "distiller" not in key}


@pytest.mark.parametrize(("kind", "off"), [("DML", dict(loss_weight=0.0)),
                                           ("CKDMKT", dict(beta=0.0, gamma=0.0))])  # fmt: skip
def test_weights_of_zero_train_as_alone(kind, off):
    alone = train(plain())
    same = train(build(kind, **off))
    assert all(torch.equal(value, same[key]) for key, value in alone.items())
    other = train(build(kind))
    assert any(not torch.equal(value, other[key]) for key, value in alone.items())


@pytest.mark.parametrize("kind", METHODS)
def test_the_checkpoint_is_the_plain_students_and_the_peers(kind):
    model = build(kind)
    state = model.state_dict()
    own = {key for key in state if not key.startswith("distiller.")}
    assert own == set(plain().state_dict())
    saved = {".".join(key.split(".")[:3]) for key in state if key.startswith("distiller.")}
    assert saved == {"distiller.iteration", "distiller.peers.0", "distiller.peers.1"}
    assert "distiller." in TRAINING_ONLY
    config = Config(dict(model=dict(type=f"kd_retrieval.{kind}", student=STUDENT,
                                    **METHODS[kind])))  # fmt: skip
    exported = student_checkpoint({"state_dict": state}, config)
    kept = exported["state_dict"]
    assert kept and all(torch.equal(value, plain().state_dict()[key])
                        for key, value in kept.items())  # fmt: skip
    assert "peers" not in exported["meta"]["cfg"]


def test_peers_are_called_as_their_trunk():
    assert "peer 1 (resnet18)" in dict(build("DML").distiller.shape_table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(peers=[dict(PEER, criterion=None)]),
         r"peer 1 \(resnet18\) must have a criterion: networks that learn from each other alone"),
        (dict(peers=[dict(type="torch.nn.Linear", in_features=3, out_features=10)]),
         r"peer 1 \(torch.nn.Linear\) must be a kd_retrieval.Embedder"),
        (dict(peers=[]), "one or more model configs, but it is a list of 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        build("DML", **options)


def test_a_peer_that_diverges_is_named():
    model = build("DML")
    with torch.no_grad():
        model.distiller.peers[1].projection.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"iteration 0 peer 2 \(resnet18\) diverged"):
        losses(model)


def test_other_normalization_is_the_peers_own():
    other = dict(type="ImgDataPreprocessor", mean=[127.5] * 3, std=[127.5] * 3)
    model = build("DML", peers=[dict(PEER, data_preprocessor=other)])
    seen = []
    model.distiller.peers[0].trunk.register_forward_hook(
        lambda _, inputs, output: seen.append(inputs[0])
    )
    losses(model)
    expected = (batch()["inputs"].float() - 127.5) / 127.5
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-5)
