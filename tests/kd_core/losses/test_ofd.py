import pytest
import torch
from torch import nn

from kd_core import Distiller, Term
from kd_core.connectors import Connector
from kd_core.losses import OFDLoss
from kd_core.losses.ofd import margins_of

# https://github.com/clovaai/overhaul-distillation, CIFAR-100/distiller.py, commit
# 76344a84a7ce23c894f41a2e05b866c9b73fd85a.


def test_authors_partial_distance(recorded):
    found = recorded("ofd_partial")
    loss = OFDLoss(norms=["bn"], loss_weight=len(found["student"]))  # a sum, not over N
    loss.margins = [found["margin"].flatten()]
    student = found["student"].requires_grad_()
    value = loss(student, found["teacher"])
    value.backward()
    assert value.item() == pytest.approx(found["value"].item(), rel=1e-5)
    torch.testing.assert_close(student.grad, found["grad_student"])


def test_authors_loss_of_two_stages(recorded):
    found = recorded("ofd_total")
    teacher, connected, learned = nn.Module(), [], {}
    for level in (0, 1):
        norm = nn.BatchNorm2d(len(found[f"teacher_bn_{level}.weight"]))
        norm.load_state_dict(
            {key: found[f"teacher_bn_{level}.{key}"] for key in ("weight", "bias")}, strict=False
        )
        teacher.add_module(f"bn{level}", norm)
        student = found[f"student_{level}"].requires_grad_()
        connector = Connector(student.shape[1], norm.num_features)
        connector.project.weight.data = found[f"param.{level}.0.weight"]
        connector.norm.weight.data = found[f"param.{level}.1.weight"]
        connector.norm.bias.data = found[f"param.{level}.1.bias"]
        connected.append(connector(student))
        learned[f"grad_param.{level}.0.weight"] = connector.project.weight
        learned[f"grad_student_{level}"] = student
    loss = OFDLoss(norms=["bn0", "bn1"])
    loss.bind_teacher(teacher)
    for level in (0, 1):
        torch.testing.assert_close(loss.margins[level], found[f"margin_{level}"].flatten())
    value = loss(connected, [found["teacher_0"], found["teacher_1"]])
    value.backward()
    assert value.item() == pytest.approx(found["value"].item(), rel=1e-5)
    for key, tensor in learned.items():
        torch.testing.assert_close(tensor.grad, found[key], rtol=1e-4, atol=1e-7)


def test_value_worked_out_by_hand():
    # Negative values of the batch: -2 and -4, the margin is -3. Targets -2, -3, 5.
    teacher = torch.tensor([-2.0, -4.0, 5.0]).reshape(1, 1, 1, 3)
    student = torch.tensor([-1.0, -9.0, 1.0]).reshape(1, 1, 1, 3)
    value = OFDLoss(loss_weight=1.0)(student, teacher)  # 1 above, 0 below a margin, 16
    assert value.item() == pytest.approx(17.0)


def test_levels_count_half_as_much_the_shallower_they_are():
    student, teacher = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    value = OFDLoss(loss_weight=1.0)([student] * 3, [teacher] * 3)
    assert value.item() == pytest.approx(1.75)


def test_margin_of_a_normal_distribution():
    # Half of N(0, s^2) is negative, of mean -s sqrt(2 / pi); of N(9, 1) next to nothing is.
    found = margins_of(torch.tensor([1.0, -2.0, 1.0]), torch.tensor([0.0, 0.0, 9.0]))
    half = (2 / torch.pi) ** 0.5
    torch.testing.assert_close(found, torch.tensor([-half, -2 * half, -3.0]))


def nets():
    return [
        nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU()) for width in (4, 6)
    ]


def test_a_distiller_reads_the_norms():
    student, teacher = nets()
    term = Term(OFDLoss(norms=["1"]), "1")
    Distiller(teacher, {"ofd": term}).attach(student, (torch.randn(2, 3, 8, 8),))
    assert term.loss.margins[0].shape == (6,)
    student(torch.randn(2, 3, 8, 8))
    student.distiller.losses()["loss_ofd"].backward()
    assert student[0].weight.grad.any()


@pytest.mark.parametrize(
    "norms, message",
    [
        (["2"], "'2' is a ReLU"),
        (["7"], "'7' is no layer"),
        (["1", "1"], "a norm for each of 1 levels, but there are 2"),
    ],
)
def test_norms_that_do_not_fit(norms, message):
    student, teacher = nets()
    distiller = Distiller(teacher, {"ofd": Term(OFDLoss(norms=norms), "1")})
    with pytest.raises(ValueError, match=message):
        distiller.attach(student, (torch.randn(2, 3, 8, 8),))


def test_a_norm_of_another_width():
    loss = OFDLoss(norms=["bn"])
    loss.margins = [torch.zeros(3)]
    with pytest.raises(ValueError, match="a margin for each of 2 channels, but the norm has 3"):
        loss(torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 1, 1))
