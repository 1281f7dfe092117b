"""CCSKD: the formula by hand at each part of its schedule, connectors, the plain student."""

import copy

import pytest
import torch
from torch.nn import functional as F

from kd_core.methods import CCSKDSchedule
from kd_engine.build import TRAINING_ONLY

from ...kd_cls.toy_classifiers import STUDENT, TEACHER, batch
from .toy_methods import STAGES, build, changed, losses, outputs, plain, train

LENGTH = 7  # iterations of an epoch


def ccskd(student=STUDENT, teacher=TEACHER, epoch=0, schedule=None, **options):
    model = build(
        "CCSKD", student=student, teacher=dict(config=teacher, checkpoint=None),
        schedule=schedule or dict(epoch_length=LENGTH), **options,
    )  # fmt: skip
    state = model.state_dict()
    state["distiller.iteration"] = torch.tensor(epoch * LENGTH)
    model.load_state_dict(state)
    return model


def relations(one, other):
    """RKD-D + 2 RKD-A, by loops over samples."""
    distances, angles = [], []
    for vectors in (one, other):
        pairs = torch.stack([torch.stack([(a - b).norm() for b in vectors]) for a in vectors])
        distances.append(pairs / pairs[pairs > 0].mean().detach())
        units = [F.normalize(vectors - middle, dim=1) for middle in vectors]
        angles.append(torch.stack([unit @ unit.T for unit in units]))
    return F.smooth_l1_loss(*distances) + 2 * F.smooth_l1_loss(*angles)


@pytest.mark.parametrize(
    ("epoch", "own", "selective", "channel"),
    [
        (0, 0, 0, 6),
        (59, 0, 0, 6),
        (60, 1, 0.1 * 0.9**4, 6 * 0.9),
        (100, 1, 0.1 * 0.9**6, 6 * 0.9),
        (160, 1, 0.1 * 0.9**10, 6 * 0.81),
    ],
)
def test_the_formula_by_hand(epoch, own, selective, channel):
    model = ccskd(epoch=epoch)
    alone = copy.deepcopy(model)
    connectors = copy.deepcopy(model.distiller.connectors)
    alone.distiller.detach()
    logits, stages = outputs(alone, STAGES, True)
    target, others = outputs(model.distiller.teachers["the teacher"].model, STAGES, False)
    labels = batch()["labels"]
    log_p, log_q = target.log_softmax(1), logits.log_softmax(1)
    kl = (log_p.exp() * (log_p - log_q)).sum(1)
    multiplier = 1 + (target.argmax(1) == labels).float()
    assert 1 < multiplier.mean() < 2  # both kinds are there
    pairs = [
        (connector(stage).relu().mean((2, 3)), other.mean((2, 3)))
        for connector, stage, other in zip(connectors, stages, others, strict=True)
    ]
    expected = dict(
        loss_ce=own * F.cross_entropy(logits, labels),
        loss_response=0.1 * kl.mean(),
        loss_channel=channel * sum((s - t).square().mean() for s, t in pairs),
        loss_relation=6 * sum(relations(s, t) for s, t in pairs),
    )
    if selective:
        expected["loss_selective"] = selective * (multiplier.square() * kl).mean()
    found = losses(model)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)
    sum(found.values()).backward()
    assert all(p.grad is not None for p in model.distiller.connectors.parameters())


def test_the_gradient_of_selective_targets_by_hand():
    model = ccskd(epoch=60, weights=dict(response=0, channel=0, relation=0))
    bias = model.network.classifier.bias
    (found,) = torch.autograd.grad(losses(model)["loss_selective"], [bias])
    clone = ccskd(epoch=60)
    clone.distiller.detach()
    logits, _ = outputs(clone, [], True)
    target, _ = outputs(model.distiller.teachers["the teacher"].model, [], False)
    square = (1 + (target.argmax(1) == batch()["labels"]).float()).square()[:, None]
    expected = 0.1 * 0.9**4 * (square * (logits.softmax(1) - target.softmax(1))).mean(0)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-6)


def test_connectors_are_there_also_where_channels_are_equal_and_only_in_training():
    model = ccskd(teacher=STUDENT)
    assert [c.project.weight.shape[:2] for c in model.distiller.connectors] == [
        (4, 4), (8, 8), (16, 16),
    ]  # fmt: skip
    model.distiller.connectors.register_forward_hook(lambda *_: pytest.fail("a connector ran"))
    model.eval()(**model.data_preprocessor(batch(), False))


def test_the_teacher_does_not_move_and_connectors_learn():
    model = ccskd()
    teacher = model.distiller.teachers["the teacher"].model
    before = copy.deepcopy(teacher.state_dict()), copy.deepcopy(model.distiller.state_dict())
    train(model)
    assert not changed(before[0], teacher.state_dict())
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    after = model.distiller.state_dict()
    keys = [key for key in before[1] if "project" in key or "running" in key]
    assert all(not torch.equal(before[1][key], after[key]) for key in keys) and len(keys) == 9


def test_weights_of_zero_train_as_alone_once_the_task_counts():
    nothing = dict(response=0, selective=0, channel=0, relation=0)
    model = ccskd(epoch=60, weights=nothing)
    teacher = model.distiller.teachers["the teacher"].model
    teacher.register_forward_hook(lambda *_: pytest.fail("the teacher ran"))
    assert not changed(train(model), train(plain()))
    assert changed(train(ccskd(epoch=60)), train(plain()))


def test_before_the_start_labels_do_not_count():
    found = []
    for shift in (0, 1):
        model = ccskd()
        data = model.data_preprocessor(batch(), True)
        data["labels"] = (data["labels"] + shift) % 10
        sum(model.train()(**data, mode="loss").values()).backward()
        found.append(model.network.classifier.weight.grad)
    assert torch.equal(*found) and found[0].any()


def test_the_checkpoint_is_the_plain_students_beside_the_connectors():
    state = ccskd().state_dict()
    assert {key for key in state if not key.startswith(TRAINING_ONLY)} == set(plain().state_dict())
    beside = {key.split(".")[1] for key in state if key.startswith("distiller.")}
    assert beside == {"iteration", "connectors"}


def test_the_schedule():
    times = CCSKDSchedule(epoch_length=10, start=2, decay=[2, 4], every=3, factor=0.5)
    assert [times.has_started(i) for i in (0, 19, 20)] == [False, False, True]
    assert [times.channel(i) for i in (0, 20, 39, 40)] == [1, 0.5, 0.5, 0.25]
    assert [times.selective(i) for i in (29, 30, 60)] == [1, 0.25, 0.0625]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(schedule=dict(epoch_length=0)), "epoch_length and every must be at least 1"),
        (dict(schedule=dict(epoch_length=1, factor=0.0)), "factor must be above 0"),
        (dict(schedule=dict(epoch_length=1, start=-1)), "start at least 0"),
        (dict(weights=dict(channels=1.0)), "weights must be of response, selective, channel"),
        (dict(weights=dict(channel=-1.0)), "channel must be finite and at least 0, but it is -1.0"),
        (dict(weights=dict(relation=float("inf"))), "finite"),
        (dict(layers=STAGES[:2]), "2 of student, 3 of the teacher"),
        (dict(teacher_layers=["network.stage8"]), "no layer 'network.stage8'"),
        (dict(layers=["network.stage8"]), "no layer 'network.stage8'"),
        (dict(student=dict(STUDENT, image_size=16), teacher=dict(TEACHER, image_size=32)),
         "student is 16 x 16 and that of the teacher 32 x 32"),
        (dict(teacher=dict(TEACHER, network=dict(type="ToyNetwork", num_classes=7))),
         "student has 10 and the teacher has 7"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        ccskd(**options)


def test_vectors_have_no_channels_to_connect():
    with pytest.raises(ValueError, match="4-D|feature map|maps"):
        ccskd(layers=["network.pool"], teacher_layers=["network.pool"])
