"""A teacher that is its student, or shares something with it."""

import copy

import pytest
import torch
from torch import nn

from kd_core import Distiller, Term
from kd_core.losses import AttentionTransferLoss
from kd_core.teacher import require_apart

ACTIVATION = nn.ReLU()  # as the default of an argument would be


class Net(nn.Module):
    def __init__(self, act=ACTIVATION):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), act)
        self.head = nn.Conv2d(4, 4, 1)
        self.drop = nn.Dropout()

    def forward(self, images):
        return self.drop(self.head(self.stem(images)))


def test_the_first_and_the_last_of_three():
    first, second, third = Net(nn.ELU()), Net(nn.ELU()), Net(nn.ELU())
    require_apart([("a", first), ("b", second), ("c", third)])
    third.head = first.head
    with pytest.raises(
        ValueError, match=r"a and c must not share layers, but 'head' of c is 'head'"
    ):
        require_apart([("a", first), ("b", second), ("c", third)])


def test_a_single_number_can_be_shared_and_no_number_cannot():
    networks = nn.Module(), nn.Module()
    for network, size in zip(networks, (0, 0), strict=True):
        network.empty = nn.Parameter(torch.empty(size))
    require_apart([("a", networks[0]), ("b", networks[1])])
    networks[0].scale = networks[1].scale = nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match="'scale' of b is 'scale' of a"):
        require_apart([("a", networks[0]), ("b", networks[1])])


def layer(student, teacher):
    teacher.head = student.head


def whole_stage(student, teacher):
    teacher.stem = student.stem


def weight(student, teacher):
    teacher.head.weight = student.head.weight


def memory(student, teacher):
    teacher.head.weight.data = student.head.weight.data


def statistics(student, teacher):
    teacher.stem[1].running_mean = student.stem[1].running_mean


def dropout(student, teacher):
    teacher.drop = student.drop


@pytest.mark.parametrize(
    "share, path",
    [
        (layer, "head"),
        (whole_stage, "stem"),
        (weight, "head.weight"),
        (memory, "head.weight"),
        (statistics, "stem.1.running_mean"),
        (dropout, "drop"),
    ],
)
def test_what_is_shared_is_named(share, path):
    student, teacher = Net(), Net()
    share(student, teacher)
    distiller = Distiller(teacher, {"at": Term(AttentionTransferLoss(), "head")})
    with pytest.raises(ValueError, match=f"but '{path}' of the teacher is '{path}' of the student"):
        distiller.attach(student, (torch.randn(2, 3, 8, 8),))
    assert not hasattr(student, "distiller")
    assert not any(module._forward_hooks for module in student.modules())


def test_the_student_itself_is_refused():
    student = Net()
    distiller = Distiller(student, {"at": Term(AttentionTransferLoss(), "head")})
    with pytest.raises(ValueError, match="'the whole model' of the teacher is 'the whole model'"):
        distiller.attach(student)


def test_a_part_of_the_student_is_refused():
    student = Net()
    distiller = Distiller(student.stem, {"at": Term(AttentionTransferLoss(), "head", "0")})
    with pytest.raises(ValueError, match="'the whole model' of the teacher is 'stem' of the stud"):
        distiller.attach(student)


def test_a_copy_and_an_activation_in_common_are_fine():
    student = Net()
    teacher = copy.deepcopy(student)
    teacher.stem[2] = student.stem[2]
    Distiller(teacher, {"at": Term(AttentionTransferLoss(), "head")}).attach(student)
    student(torch.randn(2, 3, 8, 8))
    assert "loss_at" in student.distiller.losses()


def test_views_of_one_block_are_apart():
    """As of one file that is mapped: one storage, other places in it."""
    block = torch.randn(2, 4, 4, 1, 1)
    nets = Net(), Net()
    for net, part in zip(nets, block, strict=True):
        net.head.weight = nn.Parameter(part)
    require_apart([("student", nets[0]), ("teacher", nets[1])])
    nets[1].head.weight = nn.Parameter(block[0])  # the same place in it
    with pytest.raises(ValueError, match="'head.weight' of teacher is 'head.weight' of st"):
        require_apart([("student", nets[0]), ("teacher", nets[1])])


def test_two_teachers_of_one_student():
    nets = Net(), Net(), Net()
    layer(nets[1], nets[2])
    with pytest.raises(ValueError, match="'head' of assistant is 'head' of teacher"):
        require_apart(list(zip(("student", "teacher", "assistant"), nets, strict=True)))


def test_networks_without_weights_yet():
    nets = nn.LazyLinear(4), nn.LazyLinear(4), nn.Linear(2, 2, device="meta"), nn.Identity()
    require_apart([(str(number), net) for number, net in enumerate(nets)])
    with pytest.raises(ValueError, match="'the whole model' of again is 'the whole model' of 0"):
        require_apart([("0", nets[2]), ("again", nets[2])])
