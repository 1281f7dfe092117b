"""MSKD-SSR: each term and its gradient by hand, who learns, and the order of its phases."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kd_cls.distilled import ADAPTER
from kd_core.checkpoint.load import load_weights
from kd_core.methods import MSKDSSR
from kd_core.teacher import FrozenTeacher
from kd_engine.build import TRAINING_ONLY

from ...kd_cls.toy_classifiers import STUDENT, TEACHER, batch
from .toy_heads import divergence, head_by_hand, run, same_gradients
from .toy_methods import STAGES, build, build_headed, changed, losses, plain, train

NOTHING = dict(c=[0.0, 0.0, 1.0], a=0.0, b=0.0, g=0.0)


def ssr(student=STUDENT, teacher=TEACHER, **options):
    """With random heads at the teacher."""
    reference = dict(config=teacher, checkpoint=None)
    return build("MSKDSSR", student=student, teacher=reference, **options)


def headed_teacher(model):
    return model.distiller.teachers["the teacher"].model


def parts(model):
    """A student, its heads and connectors as modules of their own, with equal weights."""
    alone = copy.deepcopy(model)
    heads, connectors = alone.distiller.heads, alone.distiller.connectors
    alone.distiller.detach()
    return alone.train(), heads.train(), connectors.train()


def parameters(student, heads, connectors):
    """Those that some terms train and others do not."""
    return [
        *student.network.parameters(), *heads.parameters(),
        *connectors.parameters(),
    ]  # fmt: skip


def by_hand(model, review, c, a, b, g, t):
    alone, heads, connectors = parts(model)
    teacher = headed_teacher(model)
    own, maps, _ = run(alone, True)
    target, others, _ = run(teacher.classifier, False)
    z = [head_by_hand(heads[i], maps[i], True)[1] for i in (0, 1)] + [own]
    y = [head_by_hand(teacher.heads[i], others[i], False)[1] for i in (0, 1)] + [target]
    labels = batch()["labels"]
    pairs = dict(
        adjacent=[(z[0], z[1]), (z[1], z[2])],
        deepest=[(z[0], z[2]), (z[1], z[2])],
        forward=[(z[1], z[0]), (z[2], z[1])],
    )[review]
    channel = [
        (connectors[i](maps[i]).mean((2, 3)) - others[i].detach().mean((2, 3))).square().mean()
        for i in range(3)
    ]
    expected = dict(
        loss_head1_ce=c[0] * F.cross_entropy(z[0], labels),
        loss_head2_ce=c[1] * F.cross_entropy(z[1], labels),
        loss_ce=c[2] * F.cross_entropy(z[2], labels),
        loss_channel=a * sum(channel),
        loss_response=b / 3 * sum(divergence(z[i], y[i], t) for i in range(3)),
        loss_review=g / 2 * sum(divergence(*pair, t) for pair in pairs),
    )
    return expected, parameters(alone, heads, connectors)


@pytest.mark.parametrize("review", ["adjacent", "deepest", "forward"])
@pytest.mark.parametrize("chosen", [None, dict(c=[0.2, 0.7, 0.9], a=2.0, b=3.0, g=4.0)])
def test_the_formula_and_its_gradient_by_hand(review, chosen):
    model = ssr(review=review, **(chosen or {}), **(dict(temperature=2.0) if chosen else {}))
    values = chosen or dict(c=[0.5, 0.5, 1.0], a=6.0, b=1.0, g=0.3)
    expected, theirs = by_hand(model, review, t=2.0 if chosen else 4.0, **values)
    own = parameters(model, model.distiller.heads, model.distiller.connectors)
    found = losses(model)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)
        assert value > 0
    same_gradients(found, expected, own, theirs)


@pytest.mark.parametrize(
    ("review", "moved"), [("adjacent", [1, 1, 0]), ("deepest", [1, 1, 0]), ("forward", [0, 1, 1])]
)
def test_the_review_trains_the_learner_alone(review, moved):
    model = ssr(review=review, g=1.0)
    heads = model.distiller.heads
    weights = [heads[0].classifier.weight, heads[1].classifier.weight,
               model.network.classifier.weight]  # fmt: skip
    found = torch.autograd.grad(losses(model)["loss_review"], weights, allow_unused=True)
    assert [int(one is not None and bool(one.any())) for one in found] == moved


def test_nothing_to_learn_from_an_equal_teacher():
    model = ssr(teacher=STUDENT)
    teacher = headed_teacher(model)
    teacher.classifier.load_state_dict(
        {k: v for k, v in model.state_dict().items() if not k.startswith("distiller.")}
    )
    teacher.heads.load_state_dict(model.distiller.heads.state_dict())
    assert all(isinstance(one, nn.Identity) for one in model.distiller.connectors)

    def with_fixed_statistics():
        model.train()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return model(**model.data_preprocessor(batch(), True), mode="loss")

    found = with_fixed_statistics()
    assert found["loss_channel"] == 0 and abs(found["loss_response"]) < 1e-5
    assert found["loss_review"] > 0
    with torch.no_grad():
        teacher.heads[0].classifier.bias += torch.arange(10.0)
        teacher.classifier.network.stage3[1].bias += 1
    found = with_fixed_statistics()
    assert found["loss_channel"] > 0.1 and found["loss_response"] > 0.1


def test_connectors_are_where_channels_differ():
    mixed = ssr(teacher_layers=["network.stage1", "network.stage2", "network.stage2"])
    shapes = [tuple(one.project.weight.shape[:2]) for one in mixed.distiller.connectors]
    assert shapes == [(6, 4), (12, 8), (12, 16)]
    assert not any("connectors" in key for key in ssr(teacher=STUDENT).state_dict())


def test_the_teacher_and_its_heads_do_not_move_and_the_students_learn():
    model = ssr()
    teacher = headed_teacher(model)
    before = copy.deepcopy(teacher.state_dict()), copy.deepcopy(model.distiller.state_dict())
    train(model)
    assert not changed(before[0], teacher.state_dict())
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    after = model.distiller.state_dict()
    assert {key.split(".")[0] for key in after} == {"iteration", "heads", "connectors"}
    assert all(not torch.equal(value, after[key]) for key, value in before[1].items())


def test_weights_of_zero_train_as_alone_and_run_nothing():
    model = ssr(**NOTHING)
    for module in (headed_teacher(model), *model.distiller.heads):
        module.register_forward_hook(lambda *_: pytest.fail("it ran"))
    assert not changed(train(model), train(plain()))
    for name, weight in dict(c=[0.5, 0.0, 1.0], a=1.0, b=1.0, g=1.0).items():
        assert changed(train(ssr(**(NOTHING | {name: weight}))), train(plain())), name


def test_the_teacher_does_not_run_for_the_review_alone():
    model = ssr(a=0.0, b=0.0)
    headed_teacher(model).register_forward_hook(lambda *_: pytest.fail("it ran"))
    assert set(losses(model)) == {"loss_ce", "loss_head1_ce", "loss_head2_ce", "loss_review"}


def test_a_stage_of_weight_0_has_no_loss():
    assert set(losses(ssr(**(NOTHING | dict(c=[0.0, 0.5, 1.0]))))) == {"loss_ce", "loss_head2_ce"}


def test_the_checkpoint_is_the_plain_students_beside_heads_and_connectors():
    model = ssr()
    train(model)
    exported = plain()
    load_weights(exported, model.state_dict(), ignore=TRAINING_ONLY)
    images = model.data_preprocessor(batch(), False)["inputs"]
    assert torch.equal(exported.eval()(images), model.eval()(images))
    assert not any("heads" in key for key in exported.state_dict())


def test_the_frozen_network_of_the_benchmark_has_its_heads():
    ((name, network, trained),) = ssr().distiller.networks()
    assert name == "the teacher" and not trained and len(network.heads) == 2


def test_heads_are_trained_before(tmp_path):
    path = str(tmp_path / "teacher.pth")
    first = build("Classifier", network=TEACHER["network"])
    torch.save(dict(state_dict=first.state_dict()), path)
    phase = dict(type="kd_cls.TeacherHeads", student=TEACHER,
                 pretrained=dict(config=TEACHER, checkpoint=path))  # fmt: skip
    with pytest.raises(ValueError, match="has no heads"):
        build("MSKDSSR", student=STUDENT, teacher=dict(config=TEACHER, checkpoint=path))
    heads = build("TeacherHeads", student=TEACHER, pretrained=phase["pretrained"])
    train(heads)
    second = str(tmp_path / "heads.pth")
    torch.save(dict(state_dict=heads.state_dict()), second)
    model = build("MSKDSSR", student=STUDENT, teacher=dict(config=phase, checkpoint=second))
    teacher = headed_teacher(model)
    assert not changed(teacher.classifier.state_dict(), first.state_dict())
    assert not changed(teacher.heads.state_dict(), heads.distiller.heads.state_dict())


def test_other_normalization_is_the_teachers_own():
    other = dict(type="ImgDataPreprocessor", mean=[127.5] * 3, std=[127.5] * 3)
    model = ssr(teacher=dict(TEACHER, data_preprocessor=other))
    seen = []
    network = headed_teacher(model).classifier.network
    network.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    losses(model)
    assert torch.allclose(seen[0], (batch()["inputs"].float() - 127.5) / 127.5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(review="next"), "review must be one of .*adjacent.*but it is 'next'"),
        (dict(c=[1.0, 1.0]), "each of the 3 stages, but it has 2"),
        (dict(c=[1.0, -1.0, 1.0]), r"c\[1\] must be finite and at least 0, but it is -1.0"),
        (dict(a=-1.0), "a must be finite and at least 0, but it is -1.0"),
        (dict(b=float("nan")), "finite"),
        (dict(g=float("inf")), "finite"),
        (dict(temperature=0.0), "temperature must be above 0"),
        (dict(layers=STAGES[:2]), "2 of student, 3 of the teacher"),
        (dict(layers=STAGES[:1], teacher_layers=STAGES[:1]), "at least 2 stages"),
        (dict(layers=["network.stage1", "network.pool"], teacher_layers=STAGES[:2]),
         "stage 2 must be a feature map"),
        (dict(teacher_layers=["network.stage8"]), "no layer 'network.stage8'"),
        (dict(student=dict(STUDENT, image_size=16), teacher=dict(TEACHER, image_size=32)),
         "student is 16 x 16 and that of the teacher 32 x 32"),
        (dict(teacher=dict(TEACHER, network=dict(type="ToyNetwork", num_classes=7))),
         "student has 10 and the teacher has 7"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        ssr(**options)


def test_a_teacher_without_heads_is_named():
    classifier = build("Classifier", network=TEACHER["network"])
    with pytest.raises(ValueError, match="HeadedClassifier, but it is a Classifier"):
        MSKDSSR(FrozenTeacher(classifier), adapter=ADAPTER)


def test_a_method_made_by_hand_is_that_of_the_config():
    headed, _ = build_headed(dict(config=TEACHER, checkpoint=None))
    model = MSKDSSR(FrozenTeacher(headed), adapter=ADAPTER).attach(plain())
    assert set(losses(model)) == set(losses(ssr()))
