"""Reads of maps in a step: what two terms share is computed once, and no step waits for a GPU."""

import copy

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from kd_core import Distiller, Term, attention
from kd_core.loss_checks import FiniteCheck
from kd_core.losses import ASCKDLoss, AttentionTransferLoss, HMATLoss
from kd_core.relations import gram

C, SIDE = 8, 16  # of the maps that are compared
OPTIONS = {"position": {"side": 4}}  # a grid of equal cells


class Calls(TorchDispatchMode):
    """Counts operators, those that wait for a GPU, and float32 copies as large as a map."""

    def __init__(self):
        super().__init__()
        self.count, self.waits, self.converted = 0, [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.count += 1
        if name in ("_local_scalar_dense", "is_nonzero", "nonzero", "equal"):
            self.waits.append(name)
        if name == "_to_copy" and found.dtype == torch.float32 and found.numel() >= C * SIDE**2:
            self.converted += 1
        return found


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.low, self.high = nn.Conv2d(3, C, 3, padding=1), nn.Conv2d(C, C, 3, padding=1)

    def forward(self, images):
        return {"loss_task": self.high(self.low(images).relu()).square().mean()}


def terms():
    layers = {"low": "low", "mid": "low", "high": "high"}
    return {
        "hmat": Term(HMATLoss(options=OPTIONS), layers),
        "asckd": Term(ASCKDLoss(), ["low", "high"]),
    }


def attached(**options):
    torch.manual_seed(0)
    student, teacher = Student(), Student()
    return Distiller(teacher, terms(), **options).attach(student)


def images(seed=0):
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def counted_energies(monkeypatch):
    found = {"forward": 0, "backward": 0}
    for way in found:
        plain = getattr(gram._Energy, way)

        def count(*args, way=way, plain=plain):
            found[way] += 1
            return plain(*args)

        monkeypatch.setattr(gram._Energy, way, staticmethod(count))
    return found


def test_two_terms_read_a_map_once_forward_and_backward(monkeypatch):
    student = attached()
    student(images())  # the first step looks whether the terms move the student
    found = counted_energies(monkeypatch)
    losses = student(images())
    assert found == {"forward": 4, "backward": 0}  # low and high of student and teacher
    sum(value for key, value in losses.items() if "loss" in key).backward()
    assert found == {"forward": 4, "backward": 2}


def test_shared_energies_give_the_losses_and_gradients_of_terms_alone():
    student = attached()
    together = student(images())
    sum(value for key, value in together.items() if "loss" in key).backward()
    gradients = [one.grad.clone() for one in student.parameters()]
    student.zero_grad()
    teacher = student.distiller.teacher.model
    maps = []
    for network in (student, teacher):
        low = network.low(images())
        maps.append((low, network.high(low.relu())))
    student_maps, teacher_maps = maps
    of = [{"low": low, "mid": low, "high": high} for low, high in maps]
    alone = {f"loss_hmat_{key}": value for key, value in HMATLoss(options=OPTIONS)(*of).items()}
    alone["loss_asckd"] = ASCKDLoss()(list(student_maps), list(teacher_maps))
    alone["loss_task"] = student_maps[1].square().mean()
    for key, value in alone.items():
        torch.testing.assert_close(together[key], value)
    sum(alone.values()).backward()
    for one, gradient in zip(student.parameters(), gradients, strict=True):
        torch.testing.assert_close(one.grad, gradient)


def test_energies_are_not_shared_where_values_or_graphs_differ(monkeypatch):
    found = counted_energies(monkeypatch)
    feature = torch.randn(1, C, 4, 4, requires_grad=True)
    fixed = torch.randn(1, C, 4, 4)
    with gram.shared_energies([feature, feature, fixed, fixed.detach()]):
        first = gram.energy(feature, 2.0)
        assert gram.energy(feature, 2.0) is first and found["forward"] == 1
        assert not gram.energy(feature.detach(), 2.0).requires_grad  # another graph
        gram.energy(feature, 1.0)  # another power
        gram.energy(fixed, 2.0)
        assert found["forward"] == 4
        gram.energy(fixed.detach(), 2.0)
        assert found["forward"] == 4
        fixed.add_(1.0)
        assert torch.allclose(gram.energy(fixed, 2.0), fixed.square().sum(dim=1))
        with torch.no_grad():
            assert not gram.energy(feature, 2.0).requires_grad
    gram.energy(feature, 2.0)
    assert found["forward"] == 7


def test_maps_of_inference_mode_are_compared():
    with torch.inference_mode():
        feature = torch.ones(2, C, 3, 3)
    with gram.shared_energies([feature, feature]):
        assert torch.equal(gram.energy(feature, 2.0), torch.full((2, 3, 3), float(C)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0])
def test_one_kernel_computes_the_energies_of_the_chunks(dtype, power, monkeypatch):
    feature = (3 * torch.randn(2, C, 5, 7)).to(dtype).requires_grad_()
    found = []
    for in_one in (False, True):
        monkeypatch.setattr(gram, "_in_one_kernel", lambda _, in_one=in_one: in_one)
        value = gram.energy(feature, power)
        assert value.dtype == torch.float32
        (gradient,) = torch.autograd.grad((value * value.detach()).sum(), feature)
        found.append((value, gradient))
    (value, gradient), (other, one) = found
    torch.testing.assert_close(other, value)
    torch.testing.assert_close(one, gradient)  # a rounding of the dtype apart


def test_zero_maps_have_no_energy_and_no_gradient_in_one_kernel(monkeypatch):
    monkeypatch.setattr(gram, "_in_one_kernel", lambda _: True)
    feature = torch.zeros(1, C, 2, 2, requires_grad=True)
    loss = AttentionTransferLoss()(feature, torch.ones(1, C, 2, 2))
    loss.backward()
    assert loss > 0 and torch.equal(feature.grad, torch.zeros_like(feature))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_pooling_and_energy_make_no_float32_copy_of_a_half_precision_map(dtype, monkeypatch):
    monkeypatch.setattr(gram, "_in_one_kernel", lambda _: True)
    feature = torch.randn(2, C, SIDE, SIDE).to(dtype).requires_grad_()
    with Calls() as calls:
        energy = attention.activation_map(feature)
        pooled = attention.pool_to(feature, 4)
        (energy.sum() + pooled.sum()).backward()
    assert calls.converted == 0 and feature.grad.dtype == dtype
    expected = torch.nn.functional.adaptive_avg_pool2d(feature.detach().float(), 4)
    torch.testing.assert_close(pooled, expected)


def test_a_step_on_a_gpu_does_not_wait():
    student = attached()
    student.distiller.finite = FiniteCheck(late=True)
    student(images())
    with Calls() as calls:
        losses = student(images())
        sum(value for key, value in losses.items() if "loss" in key).backward()
    # One look at the flag of the step before, whose values lie on the host by then.
    assert calls.waits == ["is_nonzero"] or calls.waits == ["_local_scalar_dense"]


def test_shared_energies_take_fewer_operators():
    found = {}
    for shared in (True, False):
        student = attached()
        student(images())
        if not shared:
            student.distiller.terms["asckd"].loss.forward = unshared(student)
        with Calls() as calls:
            losses = student(images())
            sum(value for key, value in losses.items() if "loss" in key).backward()
        found[shared] = calls.count
    assert found[True] < found[False]


def unshared(student):
    plain = student.distiller.terms["asckd"].loss.forward

    def forward(first, second):
        with gram.shared_energies([]):
            return plain(first, second)

    return forward


def test_a_late_check_names_term_and_iteration_a_step_later():
    check = FiniteCheck(late=True)
    check.add({"loss_at": torch.tensor(float("nan"))}, 3, {"loss_cls": torch.tensor(1.0)})
    assert copy.deepcopy(check)._waiting is None  # as of an EMA's copy of the student
    named = r"distillation term must be finite, but at iteration 3 loss_at is nan\. Lower"
    with pytest.raises(FloatingPointError, match=named):
        check.add({"loss_at": torch.tensor(1.0)}, 4)
    check.add({"loss_at": torch.tensor(1.0)}, 4, {"loss_cls": torch.tensor(float("inf"))})
    own = r"student's own must be finite, but at iteration 4 loss_cls is inf\. Lower"
    with pytest.raises(FloatingPointError, match=own):
        check.look()
    check.look()
