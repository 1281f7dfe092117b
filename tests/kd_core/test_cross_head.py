import numpy as np
import pytest
import torch
from torch import nn

from kd_core import Distiller, FrozenTeacher, Term
from kd_core.cross_head import CrossHeadLoss, align_statistics
from kd_core.losses import BoxResponseLoss, ClassResponseLoss

from .losses.conftest import REFERENCE

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Head(nn.Module):
    """Two convolutions with an activation between them, on every level."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.act = nn.ReLU()
        self.scores = nn.Conv2d(4, 3, 1)
        self.boxes = nn.Conv2d(4, 4, 1)
        self.scales = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)])

    def forward(self, images):
        maps = [self.act(self.first(one)) for one in (images, images[..., ::2, ::2])]
        boxes = [scale(self.boxes(one)) for scale, one in zip(self.scales, maps, strict=True)]
        return [self.scores(one) for one in maps], boxes


def net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(Head())


def attached(loss, **layers):
    student, teacher = net(0), net(1)
    distiller = Distiller(teacher, {"cross": Term(loss, dict(features="0.first", **layers))})
    return distiller.attach(student, example=(IMAGES,)), teacher


def test_the_alignment_agrees_with_the_authors_code():
    """github.com/jbwang1997/CrossKD at 87e156a4, mmdet/models/detectors/crosskd_gfl.py."""
    with np.load(REFERENCE / "crosskd_align_scale.npz") as arrays:
        known = {name: torch.tensor(arrays[name]) for name in arrays}
    student = known["student"].requires_grad_()
    aligned = align_statistics(student, known["teacher"])
    (aligned * known["probe"]).sum().backward()
    torch.testing.assert_close(aligned, known["aligned"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(student.grad, known["grad_student"], rtol=1e-4, atol=1e-4)


def test_a_single_value_and_a_constant_map_stay_finite():
    for shape in ((1, 2, 1, 1), (2, 2, 3, 3)):
        student = torch.zeros(shape, requires_grad=True)
        aligned = align_statistics(student, torch.ones(shape))
        aligned.sum().backward()
        assert torch.equal(aligned, torch.ones(shape)) and torch.isfinite(student.grad).all()


@pytest.mark.parametrize("value", [0.1, 1000.1])
def test_a_constant_channel_gets_the_teachers_mean(value):
    aligned = align_statistics(torch.full((2, 1, 37, 41), value), torch.randn(2, 1, 37, 41) + 3.0)
    assert aligned.std() < 1e-3 and aligned.mean().item() == pytest.approx(3.0, abs=0.1)


def test_a_teacher_with_a_precision_of_its_own():
    loss = CrossHeadLoss(ClassResponseLoss(), ["0.act", "0.scores"])
    student, teacher = net(0), FrozenTeacher(net(1), precision=torch.bfloat16)
    term = Term(loss, dict(features="0.first", scores="0[0]"))
    Distiller(teacher, {"cross": term}).attach(student, example=(IMAGES,))
    student(IMAGES)
    student.distiller.losses()["loss_cross"].backward()
    assert student[0].first.weight.grad.any()


def test_the_students_features_go_through_the_teachers_layers():
    loss = CrossHeadLoss(ClassResponseLoss(), ["0.act", "0.scores"], loss_weight=2.0)
    student, teacher = attached(loss, scores="0[0]")
    student(IMAGES)
    value = student.distiller.losses()["loss_cross"]
    head, theirs = student[0], teacher[0]
    levels = (IMAGES, IMAGES[..., ::2, ::2])
    cross = [
        theirs.scores(align_statistics(head.first(one), theirs.first(one)).relu()) for one in levels
    ]
    expected = 2.0 * ClassResponseLoss()(cross, theirs(IMAGES)[0])
    torch.testing.assert_close(value, expected)
    value.backward()
    assert head.first.weight.grad.abs().sum() > 0
    assert head.scores.weight.grad is None  # only what gives the features learns
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_each_level_has_its_own_layer_and_boxes_their_weights():
    loss = CrossHeadLoss(
        BoxResponseLoss(), ["0.act", "0.boxes", "0.scales.{level}"], predicts="boxes"
    )
    student, teacher = attached(loss, scores="0[0]", boxes="0[1]")
    assert not [name for name in student.state_dict() if "scales" in name and "distiller" in name]
    student(IMAGES)
    value = student.distiller.losses()["loss_cross"]
    theirs = teacher[0]
    cross = [
        theirs.scales[level](
            theirs.boxes(align_statistics(student[0].first(one), theirs.first(one)).relu())
        )
        for level, one in enumerate((IMAGES, IMAGES[..., ::2, ::2]))
    ]
    scores, boxes = theirs(IMAGES)
    expected = BoxResponseLoss()({"boxes": cross}, {"scores": scores, "boxes": boxes})
    torch.testing.assert_close(value, expected)


def test_a_student_with_the_teachers_features_gives_zero():
    loss = CrossHeadLoss(ClassResponseLoss(), ["0.act", "0.scores"])
    student, teacher = attached(loss, scores="0[0]")
    student.load_state_dict({**student.state_dict(), **teacher.state_dict()})
    student(IMAGES)
    assert student.distiller.losses()["loss_cross"].item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(
    ("through", "predicts", "message"),
    [
        (
            ["0.act", "0.score"],
            "scores",
            "teacher .* has no layer '0.score'. Nearest names: 0.scor",
        ),
        ([], "scores", "must be a list of the teacher's layers"),
        ("0.act", "scores", "must be a list of the teacher's layers"),
        (["0.act"], "masks", "predicts must be one of"),
    ],
)
def test_bad_input_is_named(through, predicts, message):
    with pytest.raises(ValueError, match=message):
        attached(CrossHeadLoss(ClassResponseLoss(), through, predicts), scores="0[0]")


def test_without_a_teacher_it_says_so():
    maps = {"features": torch.zeros(1, 2, 2, 2), "scores": torch.zeros(1, 2, 2, 2)}
    with pytest.raises(ValueError, match="attach it by a Distiller"):
        CrossHeadLoss(ClassResponseLoss(), ["act"])(maps, maps)
