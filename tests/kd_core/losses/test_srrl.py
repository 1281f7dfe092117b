import copy

import pytest
import torch
from torch import nn

from kd_core import Distiller, Term
from kd_core.losses import SRRLLoss


def teacher_of(weight, bias):
    teacher = nn.Module()
    teacher.classifier = nn.Linear(*reversed(weight.shape))
    teacher.classifier.load_state_dict(dict(weight=weight, bias=bias))
    return teacher


def test_authors_code(recorded):
    # https://github.com/jingyang2017/KD_SRRL, distiller_zoo/AIN.py and
    # train_imagenet_distillation.py, commit d2e802f5f57efd4f5bc6326a697b48236008a5b6.
    found = recorded("srrl")
    student, loss = found["student"].requires_grad_(), SRRLLoss("classifier")
    loss.bind_teacher(
        teacher_of(found["teacher_classifier.weight"], found["teacher_classifier.bias"])
    )
    loss.prepare(student, found["teacher"])
    (embed,) = loss.embed
    embed.project.weight.data = found["param.Connectors.0.weight"]
    embed.norm.weight.data = found["param.Connectors.1.weight"]
    embed.norm.bias.data = found["param.Connectors.1.bias"]
    value = loss(student, found["teacher"])
    value.backward()
    assert value.item() == pytest.approx(found["value"].item(), rel=1e-5)
    torch.testing.assert_close(student.grad, found["grad_student"], rtol=1e-4, atol=1e-7)
    expected = found["grad_param.Connectors.0.weight"]
    torch.testing.assert_close(embed.project.weight.grad, expected, rtol=1e-4, atol=1e-7)
    only = SRRLLoss("classifier", classifier_weight=0.0)
    only.bind_teacher(teacher_of(torch.zeros(2, 8), torch.zeros(2)))
    only.embed = loss.embed
    assert only(student, found["teacher"]).item() == pytest.approx(
        found["value_feature"].item(), rel=1e-4
    )


def attached():
    student, teacher = (
        nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                      nn.Linear(width, 5)) for width in (4, 6)
    )  # fmt: skip
    term = Term(SRRLLoss("3"), "0")
    Distiller(teacher, {"srrl": term}).attach(student, (torch.randn(2, 3, 8, 8),))
    return student, teacher, term


def test_a_distiller_binds_the_teachers_classifier_and_saves_the_convolution_alone():
    student, teacher, term = attached()
    assert term.loss._classifier.model is teacher[3]
    own = {name for name in student.state_dict() if "criteria" in name}
    assert own and all(name.startswith("distiller.criteria.srrl.embed.0.") for name in own)
    student(torch.randn(2, 3, 8, 8))
    student.distiller.losses()["loss_srrl"].backward()
    assert student[0].weight.grad.any() and teacher[3].weight.grad is None
    twin = copy.deepcopy(student)
    assert twin.distiller.terms["srrl"].loss._classifier.model is teacher[3]


def test_a_classifier_that_the_teacher_lacks():
    loss = SRRLLoss("fc")
    with pytest.raises(ValueError, match="classifier must be a module of the teacher, .* no 'fc'"):
        loss.bind_teacher(nn.Linear(2, 2))


def test_it_must_be_prepared():
    with pytest.raises(ValueError, match=r"channels None, but the maps have \(2, 3\)"):
        SRRLLoss()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 4))


def test_a_classifier_needs_a_teacher():
    loss, maps = SRRLLoss("fc"), torch.zeros(1, 2, 4, 4)
    loss.prepare(maps, maps)
    with pytest.raises(ValueError, match="needs the teacher that has 'fc': attach it"):
        loss(maps, maps)
