import copy
import gc
import weakref
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from kd_core import Distiller, FrozenTeacher, Term
from kd_core.losses import AttentionTransferLoss, ChannelWiseLoss, HMATLoss
from kd_core.schedules import Constant, LinearWarmup, Stop


class Net(nn.Module):
    """Two stages and a classifier; with `losses`, a dict of losses in training."""

    def __init__(self, width, losses=False, dropout=0.0):
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width))
        self.high = nn.Conv2d(width, 2 * width, 3)
        self.head = nn.Linear(2 * width, 5)
        self.dropout = nn.Dropout(dropout)
        self.losses = losses

    def forward(self, images):
        feature = self.high(torch.relu(self.low(images)))
        logits = self.head(self.dropout(feature.mean((2, 3))))
        if not (self.losses and self.training):
            return logits
        return {"loss_cls": logits.square().mean(), "accuracy": logits.detach().mean()}


class Broken(nn.Module):
    """A loss that becomes what it is told, whatever it sees."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, student, teacher):
        return student.sum() * 0.0 + self.value


def seeded(*args, **kwargs):
    torch.manual_seed(0)
    return Net(*args, **kwargs)


IMAGES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def counted(width=8):
    """A teacher, and the list that grows by one with every run of it."""
    teacher, calls = Net(width), []
    teacher.register_forward_hook(lambda *_: calls.append(1))
    return teacher, calls


def attach(student, *, teacher=None, loss=None, layers="high", example=False, **term):
    terms = {"at": Term(loss or AttentionTransferLoss(loss_weight=100.0), layers, **term)}
    distiller = Distiller(teacher or Net(8), terms)
    return distiller.attach(student, example=(IMAGES,) if example else None)


def train(student, steps=4):
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    torch.manual_seed(1)
    for _ in range(steps):
        output = student(IMAGES)
        if isinstance(output, dict):
            loss = sum(value for key, value in output.items() if "loss" in key)
        else:
            loss = output.square().mean()
            if hasattr(student, "distiller"):
                loss = loss + sum(student.distiller.losses().values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {k: v for k, v in student.state_dict().items() if not k.startswith("distiller.")}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class TestLosses:
    def test_a_dict_of_losses_gets_the_terms(self):
        output = attach(Net(4, losses=True))(IMAGES)
        assert list(output) == ["loss_cls", "accuracy", "loss_at"]
        assert output["loss_at"] > 0 and output["loss_at"].dtype == torch.float32

    def test_each_part_of_a_loss_is_logged(self):
        layers = {"low": "low", "mid": "low.0", "high": "high"}
        student = attach(Net(4, losses=True), teacher=Net(4), loss=HMATLoss(), layers=layers)
        parts = ["loss_at_activation", "loss_at_channel", "loss_at_position"]
        assert sorted(key for key in student(IMAGES) if "loss_at" in key) == parts

    def test_any_other_output_is_left_alone(self):
        student = seeded(4)
        with torch.no_grad():
            plain = student(IMAGES)
        student = attach(seeded(4))
        output = student(IMAGES)
        assert torch.equal(output, plain)
        assert list(student.distiller.losses()) == ["loss_at"]

    def test_weight_and_schedule_scale_it(self):
        teacher = Net(8)
        values = [
            attach(seeded(4, losses=True), teacher=teacher, **term)(IMAGES)["loss_at"].item()
            for term in ({}, {"weight": 3.0}, {"weight": 3.0, "schedule": Constant(0.5)})
        ]
        assert values[1:] == pytest.approx([3 * values[0], 1.5 * values[0]])

    def test_losses_twice_is_an_error(self):
        student = attach(Net(4))
        student(IMAGES)
        student.distiller.losses()
        with pytest.raises(RuntimeError, match="needs a forward of the student in training"):
            student.distiller.losses()

    @pytest.mark.parametrize("losses", [True, False])
    def test_nothing_happens_in_eval_mode_or_without_gradients(self, losses):
        teacher, calls = counted()
        student = attach(Net(4, losses=losses), teacher=teacher)
        modes = ((False, nullcontext), (True, torch.no_grad), (True, torch.inference_mode))
        for training, gradients in modes:
            student.train(training)
            with gradients():
                assert isinstance(student(IMAGES), dict) == (losses and training)
            with pytest.raises(RuntimeError, match="training mode"):
                student.distiller.losses()
        assert not calls and student.distiller.iteration == 0

    def test_a_name_that_the_student_uses_is_refused(self):
        student = Net(4, losses=True)
        Distiller(Net(8), {"cls": Term(AttentionTransferLoss(), "high")}).attach(student)
        with pytest.raises(ValueError, match=r"'cls' would add \['loss_cls'\] once more"):
            student(IMAGES)

    def test_two_terms_may_not_log_under_one_name(self):
        student = Net(4, losses=True)
        terms = {
            "x": Term(HMATLoss(), {"low": "low"}),
            "x_position": Term(AttentionTransferLoss(), "low"),
        }
        Distiller(Net(8), terms).attach(student)
        with pytest.raises(ValueError, match="loss_x_position"):
            student(IMAGES)

    @pytest.mark.parametrize("name", ["", "a.b", "my_loss", "task", "items", "half"])
    def test_a_name_that_cannot_be_logged_is_refused(self, name):
        with pytest.raises(ValueError, match="name must not be empty"):
            Distiller(Net(8), {name: Term(AttentionTransferLoss(), "high")})

    def test_no_term_is_refused(self):
        with pytest.raises(ValueError, match="at least one term"):
            Distiller(Net(8), {})

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_term_that_is_not_finite_is_named(self, value):
        student = Net(4, losses=True)
        loss = Broken(1.0)
        terms = {"good": Term(Broken(1.0), "high"), "bad": Term(loss, "high")}
        Distiller(Net(8), terms).attach(student)
        student(IMAGES)
        loss.value = value
        with pytest.raises(FloatingPointError, match=f"iteration 1 loss_bad is {value}"):
            student(IMAGES)
        loss.value = 1.0
        assert student(IMAGES)["loss_bad"] == 1.0  # nothing of the failed step is left

    def test_the_check_can_be_turned_off(self):
        student = Net(4, losses=True)
        terms = {"bad": Term(Broken(float("inf")), "high")}
        Distiller(Net(8), terms, check_finite=False).attach(student)
        assert student(IMAGES)["loss_bad"].isinf()

    def test_a_detector_of_torchvision(self):
        class Detector(nn.Module):
            """Called as torchvision's detectors are: lists of images and of targets."""

            def __init__(self, width):
                super().__init__()
                self.backbone = nn.Conv2d(3, width, 3)

            def forward(self, images, targets=None):
                feature = self.backbone(torch.stack(images))
                if not self.training:
                    return [{"boxes": feature.mean((2, 3))} for _ in images]
                return {"loss_classifier": feature.mean() * len(targets)}

        student = Detector(4)
        terms = {"at": Term(AttentionTransferLoss(), "backbone")}
        Distiller(Detector(8), terms).attach(student)
        output = student(list(IMAGES), targets=[{}] * 4)
        assert list(output) == ["loss_classifier", "loss_at"]


class TestTeacherRuns:
    def test_once_in_each_step(self):
        teacher, calls = counted()
        train(attach(Net(4, losses=True), teacher=teacher), steps=3)
        assert len(calls) == 3

    @pytest.mark.parametrize("losses", [True, False])
    def test_not_at_all_while_every_weight_is_zero(self, losses):
        teacher, calls = counted()
        train(attach(Net(4, losses=losses), teacher=teacher, weight=0.0), steps=3)
        assert not calls

    def test_not_before_the_warm_up_nor_after_the_stop(self):
        teacher, calls = counted()
        schedule = [LinearWarmup(begin=1, end=3), Stop(at=5)]
        student = attach(Net(4, losses=True), teacher=teacher, schedule=schedule)
        ran = []
        for _ in range(7):
            before = len(calls)
            logged = "loss_at" in student(IMAGES)
            assert logged == (len(calls) > before)
            ran.append(logged)
        assert ran == [False, False, True, True, True, False, False]

    def test_a_term_without_weight_is_not_computed(self):
        student = Net(4, losses=True)
        terms = {
            "on": Term(AttentionTransferLoss(), "high"),
            "off": Term(Broken(float("nan")), "high", weight=0.0),
        }
        Distiller(Net(8), terms).attach(student)
        assert "loss_off" not in student(IMAGES)


@pytest.mark.parametrize("losses", [True, False])
@pytest.mark.parametrize("loss", [AttentionTransferLoss, ChannelWiseLoss])
class TestWeightsOfZero:
    def test_train_the_student_bit_by_bit_as_alone(self, losses, loss):
        alone = train(seeded(4, losses=losses, dropout=0.5))
        student = seeded(4, losses=losses, dropout=0.5)
        torch.manual_seed(0)
        attach(student, loss=loss(), weight=0.0, example=True)
        assert bool(list(student.distiller.connectors)) == (loss is ChannelWiseLoss)
        assert same(train(student), alone)

    def test_while_a_weight_changes_it(self, losses, loss):
        alone = train(seeded(4, losses=losses, dropout=0.5))
        student = seeded(4, losses=losses, dropout=0.5)
        attach(student, loss=loss(), weight=1.0, example=True)
        assert not same(train(student), alone)


class TestIteration:
    def test_it_counts_the_training_steps(self):
        student = attach(Net(4, losses=True))
        train(student, steps=3)
        student.eval()(IMAGES)
        assert student.state_dict()["distiller.iteration"] == 3

    def test_it_goes_on_after_loading(self):
        schedule = LinearWarmup(end=10)
        first = attach(Net(4, losses=True), schedule=schedule)
        train(first, steps=5)
        second = attach(Net(4, losses=True), schedule=schedule)
        train(second, steps=1)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        assert second.distiller.active_terms() == {"at": 0.5}
        train(second, steps=1)
        assert second.distiller.active_terms() == {"at": 0.6}
        assert second.distiller.iteration == 6


def test_no_gradient_graph_outlives_its_step():
    student = attach(Net(4))
    features = []
    student.high.register_forward_hook(lambda m, a, out: features.append(weakref.ref(out)))
    output = student(IMAGES)
    loss = output.mean() + sum(student.distiller.losses().values())
    loss.backward()
    del output, loss
    gc.collect()
    assert len(features) == 1 and features[0]() is None


def test_the_gradient_is_that_of_the_loss_by_hand():
    teacher, student = Net(8), seeded(4)
    attach(student, teacher=FrozenTeacher(teacher), weight=2.0)
    student(IMAGES)
    student.distiller.losses()["loss_at"].backward()
    twin = seeded(4)
    by_hand = AttentionTransferLoss(loss_weight=200.0)(
        twin.high(torch.relu(twin.low(IMAGES))),
        teacher.high(torch.relu(teacher.low(IMAGES))),
    )
    by_hand.backward()
    torch.testing.assert_close(student.high.weight.grad, twin.high.weight.grad)
    torch.testing.assert_close(student.low[0].weight.grad, twin.low[0].weight.grad)
    assert student.head.weight.grad is None
