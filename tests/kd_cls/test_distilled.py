"""A teacher attached to a classifier: every loss by config, and the student stays plain."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS
from torch import nn

from kd_cls import Classifier
from kd_cls.distilled import ADAPTER
from kd_core.checkpoint.load import CheckpointError
from kd_engine.distilled import attach

from .toy_classifiers import STUDENT, TEACHER, batch

STAGES = ["network.stage1", "network.stage2", "network.stage3"]


def loss(name, **options):
    return dict(type=f"kd_core.losses.{name}", **options)


TERMS = dict(
    kd=dict(loss=loss("SoftTargetLoss"), layers="logits"),
    at=dict(loss=loss("AttentionTransferLoss"), layers=STAGES),
    sp=dict(loss=loss("SimilarityPreservingLoss"), layers="network.stage3"),
    hmat=dict(
        loss=loss("HMATLoss", soft_target_weight=1.0),
        layers=dict(low=STAGES[0], mid=STAGES[1], high=STAGES[2], logits="logits"),
    ),
    asckd=dict(loss=loss("ASCKDLoss"), layers=STAGES),
    distance=dict(loss=loss("RelationalDistanceLoss"), layers="network.pool"),
    angle=dict(loss=loss("RelationalAngleLoss"), layers="network.pool"),
    congruence=dict(loss=loss("CorrelationCongruenceLoss"), layers="network.pool"),
    transfer=dict(loss=loss("ProbabilisticTransferLoss"), layers="network.pool"),
    channels=dict(loss=loss("ChannelDistillationLoss"), layers=STAGES),
    imitation=dict(loss=loss("FeatureImitationLoss"), layers="network.stage2"),
)


def build(terms=("kd",), student=STUDENT, teacher=TEACHER, weight=1.0, checkpoint=None, **changes):
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(
        type="kd_cls.DistilledClassifier", student=copy.deepcopy(student),
        teacher=dict(config=copy.deepcopy(teacher), checkpoint=checkpoint),
        terms={name: dict(copy.deepcopy(TERMS[name]), weight=weight) for name in terms}, **changes,
    ))  # fmt: skip


def losses(model):
    model.train()
    return model(**model.data_preprocessor(batch(), True), mode="loss")


def train(model):
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    model.train()
    for _ in range(3):
        model.train_step(batch(), wrapper)
    return {key: value for key, value in model.state_dict().items() if "distiller" not in key}


@pytest.mark.parametrize("name", TERMS)
def test_each_term_alone(name):
    model = build([name])
    assert type(model) is Classifier
    found = losses(model)
    parts = {key: value for key, value in found.items() if key.startswith(f"loss_{name}")}
    assert set(found) == {"loss_ce", *parts} and parts
    total = sum(parts.values())
    assert torch.isfinite(total) and total > 0
    total.backward()
    gradient = model.network.stage1[0].weight.grad
    assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0
    teacher = model.distiller.teacher.model
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())


def test_soft_targets_are_those_of_the_logits():
    model = build()
    data = model.data_preprocessor(batch(), True)
    found = model.train()(**data, mode="loss")["loss_kd"]
    with torch.no_grad():
        student, teacher = (
            one(data["inputs"]) / 4 for one in (model, model.distiller.teacher.model)
        )
    log_q, log_p = student.log_softmax(1), teacher.log_softmax(1)
    expected = 16 * (log_p.exp() * (log_p - log_q)).sum(1).mean()
    torch.testing.assert_close(found, expected)


def test_all_terms_together_and_the_network_is_a_layer_too():
    found = losses(build(TERMS))
    assert {f"loss_{name}" for name in TERMS if name != "hmat"} <= set(found)
    parts = ("position", "activation", "channel", "soft_target")
    assert {f"loss_hmat_{part}" for part in parts} <= set(found)
    other = copy.deepcopy(TERMS["kd"]) | dict(layers="network")
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(
        type="kd_cls.DistilledClassifier", student=STUDENT,
        teacher=dict(config=TEACHER, checkpoint=None), terms=dict(kd=other),
    ))  # fmt: skip
    assert losses(model)["loss_kd"] == losses(build())["loss_kd"]


def test_weights_of_zero_train_as_without_a_teacher():
    plain = train(build(["kd"], weight=0.0))
    torch.manual_seed(0)
    alone = train(MODELS.build(ConfigDict(copy.deepcopy(STUDENT))))
    assert plain.keys() == alone.keys()
    assert all(torch.equal(value, alone[key]) for key, value in plain.items())
    taught = train(build(["kd"]))
    assert not torch.equal(taught["network.stage1.0.weight"], alone["network.stage1.0.weight"])


def test_the_checkpoint_is_the_plain_students():
    model = build(["kd", "hmat", "imitation"])
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("distiller.")}
    alone = MODELS.build(ConfigDict(copy.deepcopy(STUDENT)))
    alone.load_state_dict(state, strict=True)
    assert not any("teacher" in key for key in model.state_dict())
    data = model.data_preprocessor(batch(), False)
    assert torch.equal(alone.eval()(**data), model.eval()(**data))


def test_the_teacher_sees_its_own_normalization():
    other = dict(type="ImgDataPreprocessor", mean=[127.5] * 3, std=[127.5] * 3)
    model = build(teacher=dict(TEACHER, data_preprocessor=other))
    assert losses(model)["loss_kd"] != losses(build())["loss_kd"]
    seen = []
    teacher = model.distiller.teacher.model
    teacher.network.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    losses(model)
    assert torch.allclose(seen[0], (batch()["inputs"].float() - 127.5) / 127.5, atol=1e-5)


def test_logits_of_other_classes_are_refused():
    more = dict(TEACHER, network=dict(type="ToyNetwork", num_classes=12))
    for name in ("kd", "hmat"):
        with pytest.raises(ValueError, match=f"{name!r} .* student has 10 and the teacher 12"):
            build([name], teacher=more)
    assert losses(build(["at", "imitation"], teacher=more))["loss_at"] > 0


def test_the_dry_run_has_the_size_that_the_models_want():
    small = dict(STUDENT, image_size=16)
    table = str(build(["at"], student=small).distiller.shape_table)
    assert "2x4x8x8" in table
    table = str(build(["at"], dry_run_size=(24, 40)).distiller.shape_table)
    assert "2x4x12x20" in table


def test_student_and_teacher_take_one_size():
    with pytest.raises(ValueError, match="the student is 16 x 16 and the teacher's 24 x 32"):
        build(student=dict(STUDENT, image_size=16), teacher=dict(TEACHER, image_size=[24, 32]))
    assert losses(build(student=dict(STUDENT, image_size=32)))["loss_kd"] > 0


def test_wrong_layers_and_models_are_named():
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=r"no layer 'network.stage4'.*network.stage"):
        MODELS.build(ConfigDict(
            type="kd_cls.DistilledClassifier", student=STUDENT,
            teacher=dict(config=TEACHER, checkpoint=None),
            terms=dict(kd=dict(loss=loss("SoftTargetLoss"), layers="network.stage4")),
        ))  # fmt: skip
    with pytest.raises(ValueError, match="must be classifiers, but they are Linear and Linear"):
        attach(ADAPTER, nn.Linear(2, 2), nn.Linear(2, 2), {})


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    torch.save(MODELS.build(ConfigDict(STUDENT)).state_dict(), tmp_path / "t.pth")
    with pytest.raises(CheckpointError, match="network.stage1.0.weight"):
        build(checkpoint=str(tmp_path / "t.pth"))
    assert losses(build(teacher=STUDENT, checkpoint=str(tmp_path / "t.pth")))["loss_kd"] >= 0


def test_gradient_shares():
    model = build(["kd", "at"], gradient_shares=dict(layer="network.stage2", interval=1))
    found = losses(model)
    names = {key for key in found if key.startswith("gradient_share")}
    assert {"gradient_share_kd", "gradient_share_at"} <= names
