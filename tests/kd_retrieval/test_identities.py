"""Embedders as classifiers of their training classes: class scores, and methods that need them."""

import pytest
import torch
from mmengine.registry import MODELS
from torch.nn import functional as F

import kd_retrieval  # noqa: F401
from kd_core.layers import LayerPath
from kd_core.teacher import read_layers
from kd_retrieval.embedder import Embedder

STAGES = ["trunk.layer2", "trunk.layer4"]


def config(width=8, classes=5, loss="NormalizedSoftmaxLoss"):
    trunk = dict(type="kd_retrieval.TimmTrunk", name="resnet18",
                 options=dict(channels=(4, width, width, width)))  # fmt: skip
    criterion = dict(loss=dict(type=loss, num_classes=classes, embedding_size=6))
    return dict(type="kd_retrieval.Embedder", trunk=trunk, dim=6, criterion=criterion)


def batch():
    torch.manual_seed(1)
    return dict(inputs=torch.randn(4, 3, 32, 32), labels=torch.tensor([0, 1, 4, 4]), mode="loss")


@pytest.mark.parametrize("loss", ["NormalizedSoftmaxLoss", "CosFaceLoss"])
def test_class_scores_are_read_by_their_layer(loss):
    torch.manual_seed(0)
    model = MODELS.build(config(loss=loss)).eval()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        embeddings, logits = read_layers(
            model, [LayerPath.parse("embedding"), LayerPath.parse("logits")], images, whose="it"
        )
        cosines = embeddings @ F.normalize(model.criterion.loss.W, dim=0)
    scale = 20 if loss == "NormalizedSoftmaxLoss" else 64
    assert logits.shape == (3, 5) and torch.allclose(logits, scale * cosines, atol=1e-4)
    assert "logits" not in "".join(model.state_dict())
    assert model.criterion.num_classes == 5


def test_they_are_not_computed_where_nobody_reads_them(monkeypatch):
    model = MODELS.build(config()).eval()
    monkeypatch.setattr(type(model.criterion), "class_scores", None)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 6)


def test_wrong_numbers_of_classes_are_named():
    model = MODELS.build(config(classes=3))
    with pytest.raises(ValueError, match="3 classes, but a label is 4"):
        model(**batch())
    wrong = config()
    wrong["criterion"]["loss"]["embedding_size"] = 7
    with pytest.raises(ValueError, match="proxies of size 7"):
        MODELS.build(wrong)


def student_of(kind, **options):
    return MODELS.build(dict(type=f"kd_retrieval.{kind}", student=config(), **options))


def test_ccskd_learns_from_the_class_scores():
    torch.manual_seed(0)
    teacher = dict(config=config(12), checkpoint=None)
    options = dict(teacher=teacher, layers=STAGES, teacher_layers=STAGES)
    model = student_of("CCSKD", schedule=dict(epoch_length=1, start=0), **options)
    assert isinstance(model, Embedder)
    losses = model.train()(**batch())
    assert {"loss_metric", "loss_response", "loss_selective", "loss_channel"} <= set(losses)
    assert losses["loss_response"] > 0
    sum(value for name, value in losses.items() if "loss" in name).backward()
    assert model.projection.weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="student has 5 and the teacher has 4"):
        student_of("CCSKD", **options | dict(teacher=dict(config=config(12, 4), checkpoint=None)))


def test_the_teachers_weights_of_the_classes_are_loaded(tmp_path):
    """Other tools leave the criterion out; here the class scores are the teacher's knowledge."""
    torch.manual_seed(0)
    trained = MODELS.build(config(12))
    file = tmp_path / "teacher.pth"
    torch.save(dict(state_dict=trained.state_dict()), file)
    options = dict(layers=STAGES, teacher_layers=STAGES, schedule=dict(epoch_length=1))
    teacher = dict(config=config(12), checkpoint=str(file))
    model = student_of("CCSKD", teacher=teacher, **options)
    (frozen,) = model.distiller.teachers.values()
    assert torch.equal(frozen.model.criterion.loss.W, trained.criterion.loss.W)

    exported = {k: v for k, v in trained.state_dict().items() if not k.startswith("criterion.")}
    torch.save(dict(state_dict=exported), file)
    with pytest.raises(ValueError, match="class scores need criterion"):
        student_of("CCSKD", teacher=teacher, **options)


def test_mskd_ssr_learns_from_trained_heads(tmp_path):
    torch.manual_seed(0)
    pretrained = tmp_path / "teacher.pth"
    torch.save(dict(state_dict=MODELS.build(config(12)).state_dict()), pretrained)
    phase = dict(type="kd_retrieval.TeacherHeads", student=config(12), layers=STAGES,
                 pretrained=dict(config=config(12), checkpoint=str(pretrained)))  # fmt: skip
    heads = MODELS.build(phase).train()
    losses = heads(**batch())
    losses["loss_head1"].backward()
    assert heads.trunk.layer4[0].conv1.weight.grad is None  # the teacher is frozen
    torch.save(dict(state_dict=heads.state_dict()), tmp_path / "heads.pth")

    teacher = dict(config=phase, checkpoint=str(tmp_path / "heads.pth"))
    model = student_of("MSKDSSR", teacher=teacher, layers=STAGES, teacher_layers=STAGES)
    losses = model.train()(**batch())
    assert {"loss_metric", "loss_head1_ce", "loss_channel", "loss_response"} <= set(losses)
    sum(value for name, value in losses.items() if "loss" in name).backward()
    assert model.trunk.layer2[0].downsample[0].weight.grad.abs().sum() > 0


def test_an_embedder_without_class_scores_is_refused():
    plain = config()
    plain["criterion"] = dict(loss=dict(type="TripletMarginLoss"))
    teacher = dict(config=config(12), checkpoint=None)
    with pytest.raises(ValueError, match="a weight for each class, but it has TripletMarginLoss"):
        MODELS.build(
            dict(
                type="kd_retrieval.CCSKD",
                student=plain,
                teacher=teacher,
                layers=STAGES,
                teacher_layers=STAGES,
            )  # fmt: skip
        )
