"""Terms that cannot move the student are refused in their first step."""

import warnings

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from kd_core import Distiller, Term
from kd_core.loss_checks import require_influence
from kd_core.losses import (
    AttentionTransferLoss,
    FeatureImitationLoss,
    FlowOfSolutionProcedureLoss,
    HMATLoss,
    VIDLoss,
)
from kd_core.schedules import LinearWarmup

IMAGES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Cut(nn.Module):
    def forward(self, feature):
        return feature.detach()


class Net(nn.Module):
    """Stages a, b and c, their outputs as a tuple, a head; what is `inside` is a checkpoint."""

    def __init__(self, width=4, reentrant=None, cut=False):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))
        self.b = nn.Sequential(nn.Conv2d(width, width, 3), nn.ReLU())
        self.c = nn.Conv2d(width, width, 3)
        self.cut = Cut() if cut else nn.Identity()
        self.outputs = nn.Identity()
        self.reentrant = reentrant

    def forward(self, images):
        low = self.a(images)
        if self.reentrant is None:
            mid = self.b(low)
        else:
            mid = checkpoint(self.b, low, use_reentrant=self.reentrant)
        high = self.cut(self.c(mid))
        self.outputs((low, mid, high))
        loss = high.square().mean()
        return {"loss_task": loss} if self.training else high


def frozen(*stages):
    student = Net()
    for stage in stages:
        student.get_submodule(stage).requires_grad_(False)
    return student


def attach(student, layers, loss=None, teacher_width=4, **term):
    terms = {"at": Term(loss or AttentionTransferLoss(), layers, **term)}
    return Distiller(Net(teacher_width), terms).attach(student, example=(IMAGES,))


class Detaching(nn.Module):
    """Compares the teacher with a layer of its own, or with nothing at all."""

    def __init__(self, own=True):
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 1) if own else nn.Identity()

    def forward(self, student, teacher):
        return (self.layer(student.detach()) - teacher).square().mean()


@pytest.mark.parametrize(
    "student, layers, named",
    [
        (frozen("a"), "a", "'a'"),
        (frozen("a", "b"), "b", "'b'"),
        (frozen("a", "b"), "outputs[0:2]", "'outputs[0:2]' #0, 'outputs[0:2]' #1"),
        (frozen("a"), "outputs[0]", "'outputs[0]'"),
        (Net(reentrant=True), "b.0", "'b.0'"),
        (Net(cut=True), "cut", "'cut'"),
    ],
    ids=["frozen", "two frozen", "levels", "output", "reentrant checkpoint", "detached"],
)
@pytest.mark.parametrize("loss", [AttentionTransferLoss, FeatureImitationLoss, VIDLoss])
def test_a_layer_without_gradient_is_refused_in_the_first_step(student, layers, named, loss):
    """A connector, or parameters of the loss, get a gradient all the same."""
    attach(student, layers, loss(), teacher_width=6)
    try:
        with pytest.raises(ValueError, match="term 'at' cannot move the student") as error:
            student(IMAGES)
        assert f"into its layer(s) {named}. Either" in str(error.value)
    finally:
        student.distiller.detach()


@pytest.mark.parametrize(
    "student, layers",
    [
        (Net(), ["a", "b", "c"]),
        (frozen("b"), "b"),
        (frozen("a", "b"), "c"),
        (frozen("a.1"), "a"),
        (Net(reentrant=True), "b"),
        (Net(reentrant=False), "b.0"),
        (Net(cut=True), "c"),
    ],
    ids=["plain", "before it", "after it", "norm", "behind checkpoint", "checkpoint", "before cut"],
)
def test_a_layer_with_a_gradient_is_none_of_these(student, layers):
    attach(student, layers)
    student.a[1].eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = student(IMAGES)["loss_at"]
    loss.backward()
    own = [p.grad for name, p in student.named_parameters() if "distiller" not in name]
    assert any(gradient is not None and gradient.any() for gradient in own)


@pytest.mark.parametrize("loss", [AttentionTransferLoss, FlowOfSolutionProcedureLoss])
def test_some_levels_without_gradient_are_a_warning_once(loss):
    student = attach(frozen("a"), ["a", "b", "c"], loss())
    with pytest.warns(UserWarning, match=r"'at' has layers that cannot .* flows into 'a'\. Either"):
        student(IMAGES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        student(IMAGES)


def test_a_whole_role_without_gradient_is_refused():
    student = attach(frozen("a"), {"low": "a", "mid": "b", "high": "c"}, HMATLoss())
    with pytest.raises(ValueError, match="in the role 'low'.* or leave the role out"):
        student(IMAGES)
    student = attach(frozen("a"), {"mid": "b", "high": "c"}, HMATLoss())
    assert "loss_at_activation" in student(IMAGES)


@pytest.mark.parametrize("own", [True, False])
def test_a_loss_that_does_not_look_at_the_student_is_refused(own):
    student = attach(Net(), "b", Detaching(own))
    with pytest.raises(ValueError, match="its loss does not depend on the student's layers"):
        student(IMAGES)


def test_a_loss_that_found_nothing_yet_is_looked_at_again():
    class Sometimes(Detaching):
        empty = True

        def forward(self, student, teacher):
            return torch.zeros(()) if self.empty else super().forward(student, teacher)

    loss = Sometimes()
    student = attach(Net(), "b", loss)
    assert student(IMAGES)["loss_at"] == 0
    loss.empty = False
    with pytest.raises(ValueError, match="does not depend"):
        student(IMAGES)


def test_a_term_is_looked_at_in_its_own_first_step_only():
    student = attach(Net(), "b", schedule=LinearWarmup(begin=1, end=3))
    student.a.requires_grad_(False)
    student.b.requires_grad_(False)
    assert "loss_at" not in student(IMAGES)
    student.a.requires_grad_(True)
    student(IMAGES)
    student(IMAGES)
    student.a.requires_grad_(False)
    assert "loss_at" in student(IMAGES)


def test_another_student_is_looked_at_anew():
    student = attach(Net(), "b")
    student(IMAGES)
    distiller = student.distiller
    distiller.detach()
    other = distiller.attach(frozen("a", "b"))
    with pytest.raises(ValueError, match="cannot move the student"):
        other(IMAGES)


def test_a_weight_of_zero_needs_no_gradient():
    assert list(attach(frozen("a"), "a", weight=0.0)(IMAGES)) == ["loss_task"]


class CompiledFunction(torch.autograd.Function):
    """As torch.compile leaves it: a feature and a loss that come out of one node."""

    @staticmethod
    def forward(ctx, feature):
        return feature * 1, feature.square().sum()

    @staticmethod
    def backward(ctx, first, second):
        return first


class OrdinaryFunction(CompiledFunction):
    pass


def test_what_is_compiled_cannot_be_looked_into():
    feature, loss = CompiledFunction.apply(torch.ones(2, requires_grad=True))
    assert require_influence("term", {"": feature}, [3 * loss])
    feature, loss = OrdinaryFunction.apply(torch.ones(2, requires_grad=True))
    with pytest.raises(ValueError, match="term cannot move the student"):
        require_influence("term", {"": feature}, [3 * loss])


def test_nothing_is_seen_without_gradients():
    feature = torch.ones(2, requires_grad=True)
    with torch.no_grad():
        assert not require_influence("term", {"": feature}, [feature.sum()])


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), -1.0])
def test_a_schedule_that_gives_no_factor_is_named(factor):
    student = attach(Net(), "b", schedule=lambda iteration: factor if iteration else 1.0)
    student(IMAGES)
    with pytest.raises(ValueError, match=f"factor of term 'at' at iteration 1 .* it is {factor}"):
        student(IMAGES)
