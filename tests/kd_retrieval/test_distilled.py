import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS

from kd_core.checkpoint import CheckpointError
from kd_retrieval import Embedder

SMALL = dict(type="kd_retrieval.TimmTrunk", name="resnet18", options=dict(channels=(4, 4, 8, 8)))
WIDE = dict(type="kd_retrieval.TimmTrunk", name="resnet18", options=dict(channels=(4, 8, 8, 12)))
STUDENT = dict(type="kd_retrieval.Embedder", trunk=SMALL, dim=6,
               criterion=dict(loss=dict(type="TripletMarginLoss")))  # fmt: skip
TEACHER = dict(type="kd_retrieval.Embedder", trunk=WIDE, dim=10)
STAGES = ["trunk.layer1", "trunk.layer2", "trunk.layer3", "trunk.layer4"]


def loss(name, **options):
    return dict(type=f"kd_core.losses.{name}", **options)


TERMS = dict(
    hmat=dict(loss=loss("HMATLoss"),
              layers=dict(low=STAGES[0], mid=STAGES[1:3], high=STAGES[3])),
    asckd=dict(loss=loss("ASCKDLoss"), layers=STAGES[1:]),
    distance=dict(loss=loss("RelationalDistanceLoss"), layers="embedding"),
    angle=dict(loss=loss("RelationalAngleLoss"), layers="embedding"),
    similarity=dict(loss=loss("SimilarityPreservingLoss"), layers="trunk.layer4"),
    congruence=dict(loss=loss("CorrelationCongruenceLoss"), layers="embedding"),
    transfer=dict(loss=loss("ProbabilisticTransferLoss"), layers="embedding"),
    dark_rank=dict(loss=loss("DarkRankLoss"), layers="embedding"),
    relaxed=dict(loss=loss("RelaxedContrastiveLoss"), layers="projection",
                 teacher_layers="embedding"),
    cosine=dict(loss=loss("EmbeddingCosineLoss"), layers="embedding"),
    imitation=dict(loss=loss("FeatureImitationLoss"), layers="embedding"),
)  # fmt: skip


def build(terms=("distance",), teacher=None, **changes):
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(
        type="kd_retrieval.DistilledEmbedder", student=copy.deepcopy(STUDENT),
        teacher=teacher or dict(config=copy.deepcopy(TEACHER), checkpoint=None),
        terms={name: copy.deepcopy(TERMS[name]) for name in terms},
        **{"dry_run_size": (64, 64), **changes},
    ))  # fmt: skip


def batch():
    generator = torch.Generator().manual_seed(0)
    return dict(
        inputs=torch.randint(0, 256, (8, 3, 64, 64), generator=generator, dtype=torch.uint8),
        labels=torch.arange(8) % 2, ids=torch.arange(8), roles=torch.zeros(8, dtype=torch.int64),
    )  # fmt: skip


def losses(model):
    model.train()
    return model(**model.data_preprocessor(batch(), True), mode="loss")


@pytest.mark.parametrize("name", TERMS)
def test_each_term_alone(name):
    model = build([name])
    assert type(model) is Embedder
    found = losses(model)
    parts = {key: value for key, value in found.items() if key.startswith(f"loss_{name}")}
    assert set(found) == {"loss_metric", *parts} and parts
    total = sum(parts.values())
    assert torch.isfinite(total) and total > 0
    total.backward()
    assert model.trunk.layer1[0].conv1.weight.grad.abs().sum() > 0


def test_all_terms_together():
    found = losses(build(TERMS))
    assert {f"loss_{name}" for name in TERMS if name != "hmat"} <= set(found)
    assert {f"loss_hmat_{part}" for part in ("position", "activation", "channel")} <= set(found)


def test_a_student_without_labels_learns_from_the_teacher_alone():
    model = build()
    model.criterion = None
    found = losses(model)
    assert found["loss_metric"] == 0 and found["loss_distance"] > 0


def test_the_teacher_sees_its_own_normalisation():
    other = dict(type="ImgDataPreprocessor", mean=[127.5] * 3, std=[127.5] * 3)
    model = build(teacher=dict(config=dict(**TEACHER, data_preprocessor=other), checkpoint=None))
    plain = build()
    assert losses(model)["loss_distance"] != losses(plain)["loss_distance"]
    data = model.data_preprocessor(batch(), True)
    seen = []
    teacher = model.distiller.teacher.model
    teacher.trunk.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    model(**data, mode="loss")
    assert torch.allclose(seen[0], (batch()["inputs"].float() - 127.5) / 127.5, atol=1e-5)


def test_nothing_of_the_teacher_is_saved_or_trained():
    model = build(["cosine"])
    names = set(model.state_dict())
    plain = set(MODELS.build(ConfigDict(copy.deepcopy(STUDENT))).state_dict())
    assert plain <= names
    assert all(name.startswith("distiller.") for name in names - plain)
    assert len(names - plain) < 6  # the connector and the iteration


def test_terms_on_the_trunk_alone_do_not_run_the_teachers_embedding():
    model = build(["asckd"])
    ran = []
    for module in model.distiller.teacher.model.modules():
        module.register_forward_hook(lambda module, *_: ran.append(type(module).__name__))
    losses(model)
    assert "BasicBlock" in ran and "Pooling" not in ran


def test_a_teachers_checkpoint_must_fit(tmp_path):
    file = tmp_path / "teacher.pth"
    torch.save(MODELS.build(ConfigDict(copy.deepcopy(STUDENT))).state_dict(), file)
    with pytest.raises(CheckpointError):
        build(teacher=dict(config=TEACHER, checkpoint=str(file)))
    torch.save(MODELS.build(ConfigDict(copy.deepcopy(TEACHER))).state_dict(), file)
    assert losses(build(teacher=dict(config=TEACHER, checkpoint=str(file))))["loss_distance"] > 0


def test_a_teacher_with_proxies_loads_without_them(tmp_path):
    trained = dict(**TEACHER, criterion=dict(
        loss=dict(type="ProxyAnchorLoss", num_classes=3, embedding_size=10)))  # fmt: skip
    file = tmp_path / "teacher.pth"
    torch.save(MODELS.build(ConfigDict(copy.deepcopy(trained))).state_dict(), file)
    assert losses(build(teacher=dict(config=TEACHER, checkpoint=str(file))))["loss_distance"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(teacher=dict(config=TEACHER)), "teacher must have config and checkpoint"),
        (dict(teacher=dict(config=dict(type="ToyTeacher"), checkpoint=None)), "ToyTeacher"),
    ],
)
def test_wrong_settings(changes, message):
    with pytest.raises((ValueError, KeyError), match=message):
        build(**changes)


def test_a_layer_that_is_not_there():
    terms = dict(distance=dict(loss=loss("RelationalDistanceLoss"), layers="trunk.layer9"))
    with pytest.raises(ValueError, match="layer9"):
        MODELS.build(ConfigDict(
            type="kd_retrieval.DistilledEmbedder", student=STUDENT,
            teacher=dict(config=TEACHER, checkpoint=None), terms=terms))  # fmt: skip
