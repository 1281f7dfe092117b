import copy
import math

import pytest
import torch
from torch import nn

from kd_core import AutoWeight, Distiller, GradientShares, Term
from kd_core.gradients.auto_weight import auto_weight_of
from kd_core.losses import FeatureImitationLoss
from kd_core.schedules import LinearWarmup

ONE = torch.ones(1, 1)
SHARE = 0.3 / 1.3  # the term's gradient is 0.3 of the task's


class TwoTerms(nn.Module):
    """One weight w that all losses share: f = w x, a layer behind it, and one nobody uses."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(1, 1, bias=False)
        self.behind = nn.Linear(1, 1, bias=False)
        self.apart = nn.Linear(1, 1, bias=False)
        self.relu = nn.ReLU()
        nn.init.ones_(self.shared.weight)
        nn.init.constant_(self.behind.weight, 2.0)

    def forward(self, x):
        self.apart(x)
        out = self.behind(self.relu(self.shared(x)))
        return {"loss_out": [out.sum()]} if self.training else out


class Scaled(nn.Module):
    """A loss whose gradient by the feature is ``scale``, which a test may change."""

    def __init__(self, scale=3.0):
        super().__init__()
        self.scale = scale

    def forward(self, student, teacher):
        return {"one": self.scale * student.sum() / 3, "two": self.scale * student.sum() * 2 / 3}


class Squared(nn.Module):
    def forward(self, student, teacher):
        return student.square().mean()


def attached(loss=None, layers="shared", more=None, shares=None, **term):
    term = {"weight": AutoWeight()} | term
    terms = {"a": Term(loss or Scaled(), layers, **term)} | (more or {})
    return Distiller(TwoTerms(), terms, shares).attach(TwoTerms())


def weights_of(student, steps, name="weight_a"):
    return [float(student(ONE)[name]) for _ in range(steps)]


def test_the_weight_is_worked_out_by_hand():
    # By w the task 2 w gives 2, the term 3 w gives 3: with x = 0.2 the shares are 0.6 and 2 of 2.6.
    logged = attached(weight=AutoWeight(SHARE))(ONE)
    assert float(logged["weight_a"]) == pytest.approx(0.2)
    assert logged["loss_a_one"].item() == pytest.approx(0.2)
    assert logged["loss_a_two"].item() == pytest.approx(0.4)
    assert not logged["weight_a"].requires_grad


def test_the_default_share():
    assert Term(Scaled(), "shared", weight=AutoWeight()).auto == AutoWeight(share=0.75)
    assert Term(Scaled(), "shared").auto is None


def test_it_reaches_the_share_of_a_network_in_training():
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 8))
            self.head = nn.Linear(8, 3)

        def forward(self, x, labels=None):
            logits = self.head(self.body(x))
            return (
                logits
                if labels is None
                else {"loss_ce": nn.functional.cross_entropy(logits, labels)}
            )

    found = {}
    for share in (0.1, 0.5):
        torch.manual_seed(1)
        term = Term(FeatureImitationLoss(loss_weight=50.0), "body", weight=AutoWeight(share))
        student = Distiller(Net(16), {"a": term}, GradientShares("body", 1)).attach(Net(8))
        optimizer = torch.optim.SGD(student.parameters(), lr=0.01)
        ratios = []
        for _ in range(120):
            logged = student(torch.randn(64, 6), torch.randint(3, (64,)))
            ratios.append(float(logged["gradient_share_a"]))
            optimizer.zero_grad()
            sum(value for name, value in logged.items() if "loss" in name).backward()
            optimizer.step()
        found[share] = math.exp(sum(map(math.log, ratios)) / len(ratios))
    assert found[0.1] == pytest.approx(0.1, rel=0.25)
    assert found[0.5] == pytest.approx(0.5, rel=0.25)


def test_it_is_multiplied_with_the_schedule_and_measured_from_the_first_step_that_counts():
    student = attached(weight=AutoWeight(SHARE), schedule=LinearWarmup(begin=2, end=6))
    steps = [student(ONE) for _ in range(7)]
    assert ["weight_a" in step for step in steps] == [False] * 3 + [True] * 4
    assert [float(step["weight_a"]) for step in steps[3:]] == pytest.approx([0.2] * 4)
    losses = [step["loss_a_one"].item() for step in steps[3:]]
    assert losses == pytest.approx([0.05, 0.1, 0.15, 0.2])


@pytest.mark.parametrize(("interval", "expected"), [(4, [0, 1, 3, 7, 11, 15, 19]),
                                                   (50, [0, 1, 3, 7, 15])])  # fmt: skip
def test_gaps_double_up_to_the_interval(interval, expected):
    student = attached(weight=AutoWeight(SHARE, interval=interval))
    controller, seen = student.distiller.auto_weights["a"], []
    for step in range(20):
        seen += [step] if controller.is_due(step) else []
        student(ONE)
    assert seen == expected


def test_two_automatic_weights_are_measured_half_as_often():
    both = {"b": Term(Scaled(1.0), "behind", weight=AutoWeight(SHARE, interval=2))}
    student = attached(weight=AutoWeight(SHARE, interval=2), more=both)
    controllers, seen = student.distiller.auto_weights, []
    for step in range(12):
        seen += [step] if controllers["a"].is_due(step) else []
        assert controllers["a"].is_due(step) == controllers["b"].is_due(step)
        student(ONE)
    assert seen == [0, 1, 3, 7, 11]


def test_measurements_are_smoothed_limited_and_fall_at_once():
    loss = Scaled()
    student = attached(loss, weight=AutoWeight(SHARE, interval=1))
    assert weights_of(student, 4)[-1] == pytest.approx(0.2)
    loss.scale = 6.0
    assert weights_of(student, 1)[0] == pytest.approx(0.2 * 0.5**0.2)  # the fifth: a fifth
    loss.scale = 3e-9
    before, after = weights_of(student, 1)[0], weights_of(student, 1)[0]
    assert after / before == pytest.approx(10**0.2, rel=1e-5)
    loss.scale = 3e9
    assert weights_of(student, 1)[0] == pytest.approx(1e-6)  # the bound


def test_zero_gradients_keep_the_weight():
    loss = Scaled()
    student = attached(loss, weight=AutoWeight(SHARE, interval=1))
    weights_of(student, 1)
    loss.scale = 0.0
    assert weights_of(student, 3) == pytest.approx([0.2] * 3)
    loss.scale = 3.0
    student.behind.weight.data.zero_()  # the task's gradient by w
    assert weights_of(student, 3) == pytest.approx([0.2] * 3)


def test_before_the_first_measurement_the_weight_is_zero():
    loss = Scaled(0.0)
    student = attached(loss, weight=AutoWeight(SHARE))
    assert weights_of(student, 2) == [0.0, 0.0]
    loss.scale = 3.0
    assert weights_of(student, 1) == pytest.approx([0.2])


def test_a_named_layer_and_the_nearest_around_one_without_parameters():
    near = attached(layers="relu").distiller.auto_weights["a"]
    assert len(near.parameters_at(TwoTerms())) == 3
    # By the weight behind, the term on behind gives 3 and the task 1.
    named = attached(layers="behind", weight=AutoWeight(SHARE, layer="behind"))
    assert weights_of(named, 1) == pytest.approx([0.1])
    shared = attached(layers="behind", weight=AutoWeight(SHARE, layer="shared"))
    assert weights_of(shared, 1) == pytest.approx([0.1])  # 6 and 2


def test_resuming_continues_exactly():
    def run(student, steps, seed):
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.SGD(student.parameters(), lr=0.01)
        for _ in range(steps):
            losses = student(torch.rand(4, 1, generator=generator) + 0.5)
            optimizer.zero_grad()
            sum(one for name, one in losses.items() if name == "loss_a").backward()
            optimizer.step()
        return student

    settings, loss = AutoWeight(SHARE, interval=3), Squared()
    first = run(attached(copy.deepcopy(loss), weight=settings), 9, seed=0)
    state = copy.deepcopy(first.state_dict())
    names = [key for key in state if "auto_weights" in key]
    start = "distiller.auto_weights.a."
    assert names == [f"{start}{name}" for name in ("log_weight", "measured", "last")]
    second = attached(loss, weight=settings)
    second.load_state_dict(state)
    ends = [run(one, 20, seed=1).state_dict() for one in (first, second)]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
    assert ends[0][names[0]] != state[names[0]]


def test_nothing_is_left_on_the_student():
    student = attached()
    student(ONE)
    student.distiller.detach()
    assert student.state_dict().keys() == TwoTerms().state_dict().keys()


def test_half_precision_does_not_round_it():
    student = attached()
    student(ONE)
    before = student.distiller.auto_weights["a"].log_weight.clone()
    student.half()
    after = student.distiller.auto_weights["a"].log_weight
    assert after.dtype == torch.float32 and torch.equal(before, after)


@pytest.mark.parametrize("factor", [1e-5, 1.0, 1e4])
def test_float16_neither_loses_nor_overflows(factor):
    """A gradient that passes float16 and is multiplied later, as in a loss averaged over a map."""

    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.low = nn.Linear(2, 2)

        def forward(self, x):
            out = self.low(x).half().float()
            return {"loss_out": factor * 1e-3 * out.sum()}

    student = Half()
    term = Term(Scaled(3e-3), "low", weight=AutoWeight(0.5))
    Distiller(Half(), {"a": term}).attach(student)
    found = float(student(torch.ones(1, 2))["weight_a"])
    assert found == pytest.approx(factor * 1e-3 / 3e-3, rel=2e-3)


def test_the_gradients_are_those_of_the_weight():
    found = []
    for weight in (dict(weight=AutoWeight(SHARE)), dict(weight=0.2)):
        student = attached(**weight)
        losses = student(ONE)
        (losses["loss_a_one"] + losses["loss_a_two"] + losses["loss_out"][0]).backward()
        found.append(student.shared.weight.grad)
    torch.testing.assert_close(*found)


def test_a_plain_loop_gives_the_task_loss():
    student = nn.Sequential(nn.Linear(3, 2))
    term = Term(FeatureImitationLoss(), "0", weight=AutoWeight(0.5))
    Distiller(nn.Sequential(nn.Linear(3, 2)), {"a": term}, GradientShares("0")).attach(student)
    loss = student(torch.randn(4, 3)).square().mean()
    logged = student.distiller.losses(task_loss=loss)
    assert float(logged["weight_a"]) > 0
    student(torch.randn(4, 3))
    with pytest.raises(ValueError, match=r"term 'a' needs .*losses\(task_loss=loss\)"):
        student.distiller.losses()


class TestBadInput:
    @pytest.mark.parametrize("share", [0, 1, -0.1, 2, math.nan, "0.3"])
    def test_a_share_outside(self, share):
        with pytest.raises(ValueError, match="share must be above 0 and below 1"):
            Term(Scaled(), "shared", weight=AutoWeight(share))

    def test_an_interval_below_one(self):
        with pytest.raises(ValueError, match="interval must be at least 1, but it is 0"):
            AutoWeight(interval=0)

    def test_another_text(self):
        with pytest.raises(ValueError, match="a number or 'auto', but it is 'Auto'"):
            auto_weight_of("Auto", None)

    @pytest.mark.parametrize("weight", [1.0, AutoWeight(0.5)])
    def test_a_share_without_auto(self, weight):
        with pytest.raises(ValueError, match="a share belongs to weight='auto', but weight is"):
            auto_weight_of(weight, 0.3)

    def test_a_name_instead_of_settings(self):
        with pytest.raises(ValueError, match=r"AutoWeight\(share=0.3\) .* it got 'auto' and None"):
            Term(Scaled(), "shared", weight="auto")

    def test_an_unknown_layer(self):
        with pytest.raises(ValueError, match="no layer 'shraed'.*shared"):
            attached(weight=AutoWeight(layer="shraed"))

    def test_a_layer_that_does_not_train(self):
        student = TwoTerms()
        student.requires_grad_(False)
        term = Term(Scaled(), "shared", weight=AutoWeight())
        with pytest.raises(ValueError, match="term 'a' needs a layer that trains, but 'shared'"):
            Distiller(TwoTerms(), {"a": term}).attach(student)
        with pytest.raises(ValueError, match="term 'a' needs a layer that trains, but 'relu'"):
            attached(layers="behind", weight=AutoWeight(layer="relu"))

    def test_a_layer_that_the_task_does_not_reach(self):
        with pytest.raises(ValueError, match="term 'a' .* 'apart', but the task's does not"):
            attached(layers="apart")(ONE)

    def test_a_layer_that_the_term_does_not_reach(self):
        student = attached(weight=AutoWeight(layer="behind"))
        with pytest.raises(ValueError, match="'a'.*layer.s. 'behind', but its own does not"):
            student(ONE)


class Pooling(nn.Module):
    """A trunk, and a head whose first layer has no parameters: f = w x, then f behind it."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(1, 1, bias=False)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(1, 1, bias=False))
        nn.init.ones_(self.trunk.weight)
        nn.init.constant_(self.head[1].weight, 2.0)

    def forward(self, x):
        out = self.head(self.trunk(x))
        return {"loss_out": out.sum()} if self.training else out


def test_a_layer_before_all_parameters_of_its_module_is_measured_where_the_term_reaches():
    term = Term(Scaled(), "head.0", weight=AutoWeight(share=0.5))
    student = Distiller(Pooling(), {"a": term}).attach(Pooling())
    # By the trunk alone: 3 of the term, 2 of the task (its 1 by the head does not count).
    assert float(student(ONE)["weight_a"]) == pytest.approx(2 / 3)
