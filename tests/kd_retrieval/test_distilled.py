import copy

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS

from kd_core.checkpoint.load import CheckpointError
from kd_retrieval import Embedder
from kd_retrieval.embeddings.stored import EmbeddingKey, Embeddings, write_embeddings

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


def build(terms=("distance",), teacher=None, student=STUDENT, weight=1.0, **changes):
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(
        type="kd_retrieval.DistilledEmbedder", student=copy.deepcopy(student),
        teacher=teacher or dict(config=copy.deepcopy(TEACHER), checkpoint=None),
        terms={name: dict(copy.deepcopy(TERMS[name]), weight=weight) for name in terms},
        **{"dry_run_size": (64, 64), **changes},
    ))  # fmt: skip


def plain_student():
    return MODELS.build(ConfigDict(copy.deepcopy(STUDENT)))


def train(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    wrapper = OptimWrapper(optimizer, clip_grad=dict(max_norm=1.0))
    model.train()
    for _ in range(3):
        model.train_step(batch(), wrapper)


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
    # Not layer1: timm starts the last norm of each residual branch at 0.
    gradient = model.trunk.conv1.weight.grad
    assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0
    teacher = model.distiller.teacher.model
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())


def test_all_terms_together():
    found = losses(build(TERMS))
    assert {f"loss_{name}" for name in TERMS if name != "hmat"} <= set(found)
    assert {f"loss_hmat_{part}" for part in ("position", "activation", "channel")} <= set(found)


def test_a_student_without_labels_learns_from_the_teacher_alone():
    model = build()
    model.criterion = None
    found = losses(model)
    assert found["loss_metric"] == 0 and found["loss_distance"] > 0


def test_the_teacher_sees_its_own_normalization():
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


def test_nothing_of_the_teacher_is_saved():
    model = build(["cosine", "distance"])
    own = set(model.state_dict()) - set(plain_student().state_dict())
    connector = {name for name in own if name.startswith("distiller.connectors.cosine.")}
    assert connector and own == connector | {"distiller.iteration"}
    assert set(plain_student().state_dict()) <= set(model.state_dict())
    assert connector == {
        f"distiller.connectors.cosine.0.{name}" for name in (
            "project.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var",
            "norm.num_batches_tracked",
        )
    }  # fmt: skip


def test_proxies_lie_beside_the_student():
    loss = dict(type="ProxyAnchorLoss", num_classes=2, embedding_size=6)
    model = build(student=dict(STUDENT, criterion=dict(loss=loss)))
    own = set(model.state_dict()) - set(plain_student().state_dict())
    assert own == {"criterion.loss.proxies", "distiller.iteration"}


def test_training_leaves_the_teacher_as_it_is():
    model = build(TERMS)
    teacher = model.distiller.teacher.model
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    student = model.trunk.conv1.weight.clone()
    train(model)
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())
    assert any("running_mean" in key for key in before)
    assert not torch.equal(student, model.trunk.conv1.weight)
    assert model.distiller.iteration == 3


def test_without_weight_the_student_trains_as_if_alone():
    model = build(TERMS, weight=0.0)
    numbers = torch.rand(4)
    torch.manual_seed(0)
    alone = plain_student()
    assert torch.equal(numbers, torch.rand(4))
    for one in (model, alone):
        train(one)
    state = model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in alone.state_dict().items())
    weighted = build(["distance"])
    train(weighted)
    assert not torch.equal(weighted.trunk.conv1.weight, alone.trunk.conv1.weight)


def test_terms_on_the_trunk_alone_do_not_run_the_teachers_embedding():
    model = build(["asckd"])
    ran = []
    for module in model.distiller.teacher.model.modules():
        module.register_forward_hook(lambda module, *_: ran.append(type(module).__name__))
    losses(model)
    assert "BasicBlock" in ran and "Pooling" not in ran


def test_a_teachers_checkpoint_must_fit(tmp_path):
    file = tmp_path / "teacher.pth"
    torch.save(plain_student().state_dict(), file)
    with pytest.raises(
        CheckpointError, match=r"trunk.layer2.0.conv1.weight +\(4, 4, 3, 3\) +\(8, 4, 3, 3\)"
    ):
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
        (dict(teacher=dict(config=dict(type="torch.nn.Identity"), checkpoint=None)),
         "must be embedders, but they are Embedder and Identity"),
    ],
)  # fmt: skip
def test_wrong_settings(changes, message):
    with pytest.raises((ValueError, KeyError), match=message):
        build(**changes)


def test_a_layer_that_is_not_there():
    terms = dict(distance=dict(loss=loss("RelationalDistanceLoss"), layers="trunk.layer9"))
    with pytest.raises(ValueError, match="layer9"):
        MODELS.build(ConfigDict(
            type="kd_retrieval.DistilledEmbedder", student=STUDENT,
            teacher=dict(config=TEACHER, checkpoint=None), terms=terms))  # fmt: skip


def transformer(size):
    options = dict(img_size=size, depth=1, embed_dim=12, num_heads=2)
    trunk = dict(type="kd_retrieval.TimmTrunk", name="vit_tiny_patch16_224", options=options)
    return dict(type="kd_retrieval.Embedder", trunk=trunk, pooling="token")


def test_a_transformer_decides_the_size_of_the_dry_run():
    model = build(["distance"], dict(config=transformer(64), checkpoint=None), dry_run_size=None)
    assert losses(model)["loss_distance"] > 0
    with pytest.raises(ValueError, match="does not take images of 128 x 128: .*64.*dry_run_size"):
        build(["distance"], dict(config=transformer(64), checkpoint=None), dry_run_size=(128, 128))
    wrong = build(["distance"], dict(config=transformer(32), checkpoint=None), dry_run_size=None)
    with pytest.raises(ValueError, match="does not take images of 64 x 64"):
        losses(wrong)


def test_a_file_of_embeddings_is_a_teacher(tmp_path):
    rng = np.random.default_rng(0)
    ids, zeros = np.arange(8)[::-1].copy(), np.zeros(8, np.int64)
    rows = Embeddings(
        vectors=rng.normal(size=(8, 10)).astype(np.float32), labels=zeros, ids=ids, roles=zeros,
        paths=tuple("abcdefgh"), class_names=("x",), key=EmbeddingKey(),
    )  # fmt: skip
    write_embeddings(tmp_path / "teacher.npz", rows)
    stored = dict(type="kd_retrieval.StoredEmbeddings", file=str(tmp_path / "teacher.npz"))
    model = build(["cosine", "distance"], dict(config=stored, checkpoint=None))
    seen = []
    teacher = model.distiller.teacher.model
    teacher.embedding.register_forward_hook(lambda *args: seen.append(args[2]))
    found = losses(model)
    assert torch.equal(seen[0], torch.from_numpy(rows.vectors[::-1].copy()))  # by id
    assert found["loss_cosine"] > 0 and found["loss_distance"] > 0


def test_a_frozen_trunk_gives_no_gradient_to_its_stages():
    student = dict(STUDENT, training=dict(frozen="trunk"))
    images = torch.zeros(4, 3, 64, 64)
    data = dict(inputs=images, labels=torch.tensor([0, 0, 1, 1]), mode="loss")
    model = build(("asckd",), student=student).train()
    with pytest.raises(ValueError, match="'asckd' cannot move the student.*'trunk.layer2', 'tr"):
        model(**data)
    model = build(("distance",), student=student).train()  # the projection trains
    assert "loss_distance" in model(**data)


@pytest.mark.parametrize(
    "trunk, layers",
    [
        (
            dict(type="kd_retrieval.TimmTrunk", name="swin_tiny_patch4_window7_224",
                 options=dict(img_size=64, window_size=4, embed_dim=16, depths=(1, 1, 1, 1),
                              num_heads=(2, 2, 2, 2))),
            ["trunk.layers.0", "trunk.layers.3", "trunk"],
        ),
        (
            dict(type="kd_retrieval.TorchvisionTrunk", name="swin_t"),
            ["trunk.features.1", "trunk.features.7", "trunk"],
        ),
    ],
    ids=["timm", "torchvision"],
)  # fmt: skip
def test_the_stages_of_a_swin_trunk_are_turned_and_its_output_is_not(trunk, layers):
    """The trunk itself gives (N, C, H, W) already."""
    teacher = dict(config=dict(type="kd_retrieval.Embedder", trunk=trunk), checkpoint=None)
    stages = ["trunk.layer1", "trunk.layer4", "trunk.layer4"]
    term = dict(loss=loss("AttentionTransferLoss"), layers=stages, teacher_layers=layers)
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(
        type="kd_retrieval.DistilledEmbedder", student=copy.deepcopy(STUDENT), teacher=teacher,
        terms=dict(at=term), dry_run_size=(64, 64),
    ))  # fmt: skip
    width = 16 if "timm" in trunk["type"].lower() else 96
    rows = model.distiller.shape_table.rows
    assert [row.teacher_layout for row in rows] == ["turned", "turned", ""]
    assert [row.teacher_shape for row in rows] == [
        (2, width, 16, 16), (2, 8 * width, 2, 2), (2, 8 * width, 2, 2)
    ]  # fmt: skip
    assert not any(row.student_layout for row in rows)
