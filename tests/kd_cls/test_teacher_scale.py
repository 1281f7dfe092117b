"""A teacher of classifiers at another image size than the student's."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch.nn import functional as F

from kd_core.losses import SoftTargetLoss

from .toy_classifiers import STUDENT, TEACHER, batch


def build(scale, student=16, teacher=32):
    teacher = dict(config=dict(copy.deepcopy(TEACHER), image_size=teacher), checkpoint=None)
    if scale is not None:
        teacher["scale"] = scale
    kd = dict(loss=dict(type="kd_core.losses.SoftTargetLoss"), layers="logits")
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(
        type="kd_cls.DistilledClassifier", teacher=teacher, terms=dict(kd=kd),
        student=dict(copy.deepcopy(STUDENT), image_size=student),
    ))  # fmt: skip


@pytest.mark.parametrize("scale", [2.0, (32, 32)])
def test_the_teacher_sees_resized_images(scale):
    model = build(scale).train()
    data = model.data_preprocessor(batch(size=16), True)
    found = model(**data, mode="loss")["loss_kd"]
    large = F.interpolate(data["inputs"], (32, 32), mode="bilinear", antialias=True)
    with torch.no_grad():
        target = model.distiller.teacher.model(large)
        own = copy.deepcopy(model)
        own.distiller.detach()
        expected = SoftTargetLoss()(own(data["inputs"]), target)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    found.backward()
    assert model.network.stage1[0].weight.grad.abs().sum() > 0


def test_without_a_fixed_size_of_the_student():
    model = build((48, 48), student=None, teacher=48).train()
    data = model.data_preprocessor(batch(size=16), True)
    assert model(**data, mode="loss")["loss_kd"] > 0


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (None, r"student is 16 x 16 and the teacher's 32 x 32. Give the teacher scale=\(32, 32\)"),
        (3.0, r"image_size, 32 x 32, but 3.0 makes 48 x 48 of .* 16 x 16. Set scale=\(32, 32\)"),
    ],
)
def test_sizes_that_do_not_fit_are_named(scale, message):
    with pytest.raises(ValueError, match=message):
        build(scale)
