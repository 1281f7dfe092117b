"""Inheriting: whole modules, strictly; what is skipped is said; which width stands in the way."""

import copy

import pytest
import torch
from torch import nn

from kd_core.checkpoint.inherit import Inherit, inherit_weights
from kd_core.checkpoint.load import CheckpointError
from kdkit import distill


class Net(nn.Module):
    """A detector in small: backbone, neck with batch norm, head of some classes."""

    def __init__(self, backbone=4, neck=8, classes=3, seed=0, extra=False):
        super().__init__()
        torch.manual_seed(seed)
        self.backbone = nn.Conv2d(3, backbone, 3)
        self.neck = nn.Sequential(nn.Conv2d(6, neck, 3), nn.BatchNorm2d(neck), nn.ReLU())
        self.head = nn.Module()
        self.head.conv = nn.Conv2d(neck, neck, 3)
        self.head.fc = nn.Linear(neck, classes)
        if extra:
            self.head.scale = nn.Parameter(torch.ones(2))
        self.neck[1].running_mean.normal_()
        self.neck[1].num_batches_tracked.fill_(seed)

    def forward(self, images):
        return self.backbone(images)


@pytest.fixture
def pair():
    return Net(backbone=2, seed=1), Net(backbone=4, seed=2)


def same(student, teacher):
    mine, theirs = student.state_dict(), teacher.state_dict()
    return [key for key in theirs if torch.equal(mine[key], theirs[key])]


def test_parameters_and_buffers_are_copied_and_no_random_number_is_drawn(pair):
    student, teacher = pair
    before, state = copy.deepcopy(student.state_dict()), torch.get_rng_state()
    report = inherit_weights(student, teacher, ["neck", "head.conv"])
    expected = [*(f"neck.{key}" for key in teacher.neck.state_dict()), "head.conv.weight"]
    expected.append("head.conv.bias")
    assert list(report.copied) == expected == same(student, teacher)
    assert report.text == "neck (7 tensors), head.conv (2 tensors) of the teacher"
    assert not report.left_out
    untouched = [key for key in before if key not in expected]
    assert all(torch.equal(student.state_dict()[key], before[key]) for key in untouched)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_values_are_copies_in_the_students_dtype(pair):
    student, teacher = pair
    student.double()
    student.neck[0].weight.requires_grad_(False)
    inherit_weights(student, teacher, "neck")
    assert student.neck[0].weight.dtype == torch.float64
    assert not student.neck[0].weight.requires_grad
    assert student.neck[0].bias.requires_grad
    with torch.no_grad():
        student.neck[0].bias += 1
    assert not torch.equal(student.neck[0].bias.float(), teacher.neck[0].bias)


def test_modules_of_other_names(pair):
    student, teacher = pair
    teacher.fpn = teacher.neck
    del teacher.neck
    inherit_weights(student, teacher, {"neck": "fpn"})
    assert torch.equal(student.neck[0].weight, teacher.fpn[0].weight)
    with pytest.raises(ValueError, match=r"the teacher \(Net\) has no layer 'neck'"):
        inherit_weights(student, teacher, ["neck"])


@pytest.mark.parametrize(
    "modules, words",
    [
        (["nek"], r"the student \(Net\) has no layer 'nek'\. Nearest names: neck"),
        (["neck[0]"], r"only whole modules of a model .* but got 'neck\[0\]'"),
        (["neck["], r"must read like .* but it is 'neck\['"),
        ([""], "only whole modules of a model .* but got ''"),
        (["output"], "only whole modules of a model .* but got 'output'"),
        (["neck.2"], r"only a module with parameters or buffers .* neck\.2 \(ReLU\) has none"),
        (["neck", "neck.0"], r"'neck\.0' is inside of another"),
        (["neck", "neck"], r"each once, but they are \['neck', 'neck'\]"),
        ([], r"at least one module"),
        (3, r"modules must be a path .* but got 3"),
        ({"neck": 3}, r"modules must be a path"),
    ],
)
def test_wrong_modules_are_refused(pair, modules, words):
    with pytest.raises(ValueError, match=words):
        inherit_weights(*pair, modules)


@pytest.mark.parametrize(
    "changes, module, words",
    [
        (dict(neck=16), "neck", "neck: 8 channels against the teacher's 16:"),
        (dict(classes=80), "head", "head: 3 classes against the teacher's 80:"),
        (dict(neck=16), "head.fc", "head.fc: 8 input features against the teacher's 16:"),
        (
            dict(extra=True),
            "head",
            "head: 0 of its 4 tensors are not in the teacher's, which has 1",
        ),
    ],
)
def test_what_does_not_fit_stops_with_both_shapes_and_the_width(pair, changes, module, words):
    student, _ = pair
    nn.init.zeros_(student.neck[0].weight)
    before = copy.deepcopy(student.state_dict())
    with pytest.raises(ValueError, match="every weight of an inherited module") as caught:
        inherit_weights(student, Net(**changes), [module])
    assert words in str(caught.value)
    assert all(torch.equal(student.state_dict()[key], before[key]) for key in before)


def test_a_number_against_a_list_of_one(pair):
    student, teacher = pair
    student.head.scale, teacher.head.scale = (
        nn.Parameter(torch.ones(shape)) for shape in ((), (1,))
    )
    with pytest.raises(ValueError, match="head: 0 dimensions of a tensor against the teacher's 1"):
        inherit_weights(student, teacher, ["head"])


def test_the_table_names_each_tensor(pair):
    with pytest.raises(ValueError) as caught:
        inherit_weights(pair[0], Net(neck=16, extra=True), ["head"])
    lines = [line.split("  ") for line in str(caught.value).splitlines()[1:]]
    rows = [[cell.strip() for cell in line if cell] for line in lines]
    assert ["head.conv.weight", "(8, 8, 3, 3)", "(16, 16, 3, 3)"] in rows
    assert ["head.scale", "-", "(2,)"] in rows


def test_skipping_leaves_out_whole_layers_and_says_which(pair, caplog):
    student = pair[0]
    teacher = Net(classes=80, seed=2)
    old = student.head.fc.bias.clone()
    report = inherit_weights(student, teacher, ["neck", "head"], skip_mismatched=True)
    assert torch.equal(student.head.conv.weight, teacher.head.conv.weight)
    assert torch.equal(student.head.fc.bias, old)
    assert [misfit.key for misfit in report.left_out] == ["head.fc.weight", "head.fc.bias"]
    assert report.text == "neck (7 tensors), head (2 tensors) of the teacher"
    (record,) = caplog.records
    assert "head: 3 classes against the teacher's 80" in record.getMessage()
    assert "head.fc.weight  (3, 8)   (80, 8)" in record.getMessage()


def test_a_layer_of_which_one_tensor_differs_is_left_out_as_a_whole(pair):
    student, teacher = pair
    teacher.head.conv = nn.Conv2d(4, 8, 3)  # the bias would fit
    old = student.head.conv.bias.clone()
    inherit_weights(student, teacher, ["head"], skip_mismatched=True)
    assert torch.equal(student.head.conv.bias, old)


def test_skipping_everything_is_an_error(pair):
    with pytest.raises(ValueError, match="neck.0: 8 channels against the teacher.s 16"):
        inherit_weights(pair[0], Net(neck=16), ["neck.0", "neck.1"], skip_mismatched=True)


def test_a_diverged_teacher_is_refused_before_anything_is_copied(pair):
    student, teacher = pair
    nn.init.constant_(teacher.head.conv.bias, float("nan"))
    old = student.neck[0].weight.clone()
    with pytest.raises(CheckpointError, match="in head of the teacher"):
        inherit_weights(student, teacher, ["neck", "head"])
    assert torch.equal(student.neck[0].weight, old)


def test_lazy_layers_are_refused(pair):
    student, teacher = pair
    student.neck = nn.LazyConv2d(8, 3)
    with pytest.raises(ValueError, match="the shapes of neck must be known"):
        inherit_weights(student, teacher, "neck")


def test_forms_of_a_request():
    assert Inherit.of("neck") == Inherit({"neck": "neck"})
    assert Inherit.of(("neck", "head")) == Inherit({"neck": "neck", "head": "head"})
    whole = Inherit.of(dict(modules=dict(neck="fpn"), teacher="large", skip_mismatched=True))
    assert whole == Inherit({"neck": "fpn"}, "large", True)
    assert Inherit.of(whole) is whole
    with pytest.raises(ValueError, match=r"it has the keys neck\. .* modules=dict"):
        Inherit.of(dict(neck="fpn"))
    with pytest.raises(ValueError, match="keys modules, skip"):
        Inherit.of(dict(modules="neck", skip=True))


def test_one_of_several_teachers():
    teachers = {"small": Net(seed=3), "large": Net(seed=4)}
    student = Net(seed=5)
    with pytest.raises(ValueError, match=r"teachers small, large, so inherit must say from which"):
        Inherit.of(["neck"]).run(student, teachers)
    with pytest.raises(ValueError, match="must be one of 'small', 'large', but it is 'big'"):
        Inherit.of(dict(modules="neck", teacher="big")).run(student, teachers)
    report = Inherit.of(dict(modules="neck", teacher="large")).run(student, teachers)
    assert torch.equal(student.neck[0].weight, teachers["large"].neck[0].weight)
    assert report.text.endswith("of the teacher large")


def test_a_check_copies_nothing(pair):
    student, teacher = pair
    Inherit.of("neck").check(student, {"teacher": teacher})
    assert "neck.0.weight" not in same(student, teacher)
    with pytest.raises(ValueError, match="8 channels"):
        Inherit.of("neck").check(student, {"teacher": Net(neck=16)})


def test_distill_inherits_at_once(pair):
    student, teacher = pair
    terms = {"imitation": (nn.MSELoss(), "head.conv")}
    with pytest.raises(ValueError, match="no layer 'nek'"):
        distill(Net(), Net(), terms, inherit=["nek"])
    distill(student, teacher, terms, inherit=["neck"])
    assert "neck.0.weight" in same(student, teacher)
