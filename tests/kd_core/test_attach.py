import copy
import io

import pytest
import torch
from torch import nn

from kd_core import Distiller, GradientShares, Term
from kd_core.losses import AttentionTransferLoss, ChannelWiseLoss, FeatureImitationLoss, HMATLoss

IMAGES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
ROLES = {"low": "low", "mid": "mid", "high": ["high"]}


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.low = nn.Conv2d(3, width, 3)
        self.mid = nn.Sequential(nn.Conv2d(width, width, 3), nn.BatchNorm2d(width))
        self.high = nn.Conv2d(width, 2 * width, 3)
        self.head = nn.Linear(2 * width, 5)

    def forward(self, images):
        pooled = self.high(self.mid(self.low(images)))
        return self.head(pooled.mean((2, 3)))


class Remember(nn.Module):
    """Keeps what it is given; asks for equal channels in the high role."""

    accepts_lists = True
    roles = ("low", "mid", "high")
    equal_channels = frozenset({"high"})

    def forward(self, student, teacher, connected):
        self.seen = student, connected
        return connected["high"].mean()


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def attach(student, term, *, width=8, example=True):
    distiller = Distiller(Net(width), {"term": term})
    return distiller.attach(student, example=(IMAGES,) if example else None)


def connectors(student):
    return sorted(
        key for key, _ in student.named_parameters() if key.startswith("distiller.connectors.")
    )


def step(student):
    """One training step; return the losses of the terms."""
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    output = student(IMAGES)
    losses = student.distiller.losses()
    (output.square().mean() + sum(losses.values())).backward()
    optimizer.step()
    return losses


class TestConnectors:
    @pytest.mark.parametrize("loss", [AttentionTransferLoss(), HMATLoss(channel_weight=0.0)])
    def test_none_where_channels_may_differ(self, loss):
        layers = ROLES if isinstance(loss, HMATLoss) else ["low", "high"]
        assert not connectors(attach(Net(4), Term(loss, layers)))

    def test_none_where_channels_are_equal(self):
        assert not connectors(attach(Net(8), Term(ChannelWiseLoss(), ["low", "high"])))

    def test_one_for_each_level_that_differs(self):
        term = Term(ChannelWiseLoss(), ["low", "mid", "high"], ["low", "mid", "mid"])
        student = attach(Net(4), term, width=8)  # 4 -> 8, 4 -> 8, 8 -> 8
        assert {key.split(".")[3] for key in connectors(student)} == {"0", "1"}

    def test_hmat_connects_its_high_role(self):
        student = attach(Net(4), Term(HMATLoss(), ROLES))
        names = ["norm.bias", "norm.weight", "project.weight"]
        assert connectors(student) == [f"distiller.connectors.term.high_0.{n}" for n in names]
        assert step(student).keys() == {
            "loss_term_position",
            "loss_term_activation",
            "loss_term_channel",
        }

    def test_a_loss_with_roles_gets_the_raw_maps_too(self):
        loss = Remember()
        student = attach(Net(4), Term(loss, ROLES))
        step(student)
        raw, connected = loss.seen
        assert sorted(raw) == ["high", "low", "mid"] and list(connected) == ["high"]
        assert raw["high"].shape[1] == 8 and connected["high"].shape[1] == 16

    def test_a_vector_is_connected_too(self):
        class Vectors(Net):
            def __init__(self, width):
                super().__init__(width)
                self.head = nn.Linear(2 * width, width)

        class Distance(nn.Module):
            equal_channels = True

            def forward(self, student, teacher):
                return (student - teacher).square().mean()

        student = Vectors(4)
        Distiller(Vectors(6), {"d": Term(Distance(), "head")}).attach(student, (IMAGES,))
        assert student.distiller.connectors.d["0"](torch.ones(2, 4)).shape == (2, 6)
        assert step(student)["loss_d"] > 0

    def test_they_are_trained_and_saved_beside_the_student(self):
        student = attach(Net(4), Term(FeatureImitationLoss(), "high"))
        weight = student.distiller.connectors.term["0"].project.weight
        before = weight.detach().clone()
        step(student)
        assert not torch.equal(weight, before)
        keys = {key for key in student.state_dict() if not key.startswith("distiller.")}
        assert keys == set(Net(4).state_dict())
        stream = io.BytesIO()
        torch.save(student.state_dict(), stream)
        stream.seek(0)
        other = attach(Net(4), Term(FeatureImitationLoss(), "high"))
        other.load_state_dict(torch.load(stream, weights_only=True))
        assert torch.equal(other.distiller.connectors.term["0"].project.weight, weight)

    def test_they_take_the_students_type(self):
        student = Net(4).double()
        distiller = Distiller(Net(8).double(), {"term": Term(ChannelWiseLoss(), "high")})
        distiller.attach(student, example=(IMAGES.double(),))
        assert distiller.connectors.term["0"].project.weight.dtype == torch.float64

    def test_attaching_anew_keeps_what_fits_and_no_more(self):
        student = attach(Net(4), Term(ChannelWiseLoss(), "high"))
        distiller = student.distiller
        trained = distiller.connectors.term["0"]
        distiller.attach(distiller.detach(), example=(IMAGES,))
        assert distiller.connectors.term["0"] is trained
        distiller.detach()
        distiller.attach(Net(6), example=(IMAGES,))
        assert distiller.connectors.term["0"].project.in_channels == 12
        distiller.detach()
        distiller.attach(Net(8), example=(IMAGES,))
        assert not list(distiller.connectors)


class TestDryRun:
    def test_it_finds_the_shapes(self):
        student = attach(Net(4), Term(ChannelWiseLoss(), ["low", "high"]))
        assert str(student.distiller.shape_table).splitlines()[1:] == [
            "term  -     low, high #0   4x4x10x10  low, high #0   4x8x10x10  4 -> 8",
            "term  -     low, high #1   4x8x6x6    low, high #1   4x16x6x6   8 -> 16",
        ]

    def test_a_clash_of_shapes_shows_the_table(self):
        with pytest.raises(ValueError, match="'term' does not fit") as error:
            attach(Net(4), Term(AttentionTransferLoss(), "head"))
        assert "student layer  shape  teacher layer" in str(error.value)
        assert "4x5" in str(error.value)

    def test_levels_that_are_not_as_many_are_named(self):
        with pytest.raises(ValueError, match="2 levels of the student and 1 of the teacher"):
            attach(Net(4), Term(AttentionTransferLoss(), ["low", "mid"], "low"))

    def test_it_leaves_the_student_as_it_was(self):
        student = Net(4)
        student.mid.eval()
        modes = {name: module.training for name, module in student.named_modules()}
        before = copy.deepcopy(student.state_dict())
        distiller = Distiller(Net(8), {"term": Term(ChannelWiseLoss(), "high")})
        random = torch.get_rng_state()
        distiller.attach(student, example=(IMAGES,))
        assert list(distiller.connectors) == ["term"]
        assert torch.equal(torch.get_rng_state(), random)
        assert modes == {n: student.get_submodule(n).training for n in modes}
        assert all(torch.equal(student.state_dict()[key], before[key]) for key in before)
        assert distiller.iteration == 0

    def test_an_own_forward_runs_the_student(self):
        student, calls = Net(4), []
        distiller = Distiller(Net(8), {"term": Term(AttentionTransferLoss(), "low")})
        distiller.attach(student, (IMAGES,), lambda m, x: calls.append(m) or m.low(x))
        assert calls == [student]


class TestAttaching:
    def test_twice_is_refused(self):
        student = attach(Net(4), Term(AttentionTransferLoss(), "high"))
        with pytest.raises(ValueError, match=r"attached already\. Call detach"):
            attach(student, Term(AttentionTransferLoss(), "high"))
        with pytest.raises(ValueError, match="attached already"):
            student.distiller.attach(Net(4))

    def test_detaching_restores_the_student(self):
        student = Net(4)
        keys, modules = list(student.state_dict()), [name for name, _ in student.named_modules()]
        expected = copy.deepcopy(student)
        attach(student, Term(HMATLoss(), ROLES))
        distiller = student.distiller
        assert hooks(student) == 5
        assert distiller.detach() is student
        assert hooks(student) == 0 and hooks(distiller.teacher.model) == 0
        assert list(student.state_dict()) == keys
        assert [name for name, _ in student.named_modules()] == modules
        assert not hasattr(student, "distiller")
        assert torch.equal(student(IMAGES), expected(IMAGES))
        with pytest.raises(ValueError, match="not attached"):
            distiller.detach()

    @pytest.mark.parametrize(
        "layers, teacher_layers",
        [(["high", "hihg"], ["high", "high"]), (["high", "low"], ["high", "hihg"]), ("head", None)],
        ids=["student's layer", "teacher's layer", "shapes"],
    )
    def test_failing_leaves_nothing_behind(self, layers, teacher_layers):
        student = Net(4)
        distiller = Distiller(
            Net(8), {"term": Term(AttentionTransferLoss(), layers, teacher_layers)}
        )
        with pytest.raises(ValueError, match="hihg|does not fit"):
            distiller.attach(student, example=(IMAGES,))
        assert hooks(student) == hooks(distiller.teacher.model) == 0
        assert list(student.state_dict()) == list(Net(4).state_dict())
        assert student.training
        attach(student, Term(AttentionTransferLoss(), "high"))
        assert step(student)["loss_term"] > 0

    def test_a_child_of_the_students_is_not_overwritten(self):
        student = Net(4)
        student.distiller = nn.Linear(1, 1)
        with pytest.raises(ValueError, match="must have no child 'distiller'"):
            attach(student, Term(AttentionTransferLoss(), "high"))
        assert isinstance(student.distiller, nn.Linear)

    def test_a_sequential_student(self):
        student = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        plain = student(IMAGES)
        term = Term(AttentionTransferLoss(), "0", "low")
        attach(student, term)
        assert torch.equal(student(IMAGES), plain)
        assert student.distiller.losses()["loss_term"] > 0

    def test_taps_follow_a_conversion_to_sync_batch_norm(self):
        student = attach(Net(4), Term(ChannelWiseLoss(), "mid.1"))
        student = nn.SyncBatchNorm.convert_sync_batchnorm(student)
        assert isinstance(student.mid[1], nn.SyncBatchNorm)
        assert isinstance(student.distiller.connectors.term["0"].norm, nn.SyncBatchNorm)
        assert isinstance(student.distiller.teacher.model.mid[1], nn.BatchNorm2d)
        student.mid[1] = nn.BatchNorm2d(4)  # SyncBatchNorm itself trains on a GPU alone
        student.distiller.connectors.term["0"].norm = nn.BatchNorm2d(8)
        assert step(student)["loss_term"] > 0


class TestCopies:
    def test_a_copy_trains_on_its_own(self):
        student = attach(Net(4), Term(ChannelWiseLoss(), "high"))
        distiller = student.distiller
        step(student)
        twin = copy.deepcopy(student)
        assert twin.distiller.teacher is distiller.teacher
        before = copy.deepcopy(student.state_dict())
        step(twin)
        step(twin)
        assert all(torch.equal(student.state_dict()[key], before[key]) for key in before)
        assert (student.distiller.iteration, twin.distiller.iteration) == (1, 3)
        assert not torch.equal(twin.low.weight, student.low.weight)
        assert step(student)["loss_term"] > 0

    def test_detaching_a_copy_leaves_the_other_attached(self):
        student = attach(Net(4), Term(ChannelWiseLoss(), "high"))
        twin = copy.deepcopy(student)
        twin.distiller.detach()
        assert hooks(twin) == 0
        assert step(student)["loss_term"] > 0

    def test_a_copy_can_be_made_between_forward_and_losses(self):
        student = attach(Net(4), Term(ChannelWiseLoss(), "high"))
        student(IMAGES)
        twin = copy.deepcopy(student)
        assert student.distiller.losses()["loss_term"] > 0
        assert step(twin)["loss_term"] > 0

    def test_gradient_shares_are_those_of_the_copy(self):
        student = Net(4)
        term = Term(AttentionTransferLoss(), "high")
        Distiller(Net(8), {"a": term}, GradientShares("low")).attach(student)
        twin = copy.deepcopy(student)
        for parameter in student.parameters():
            nn.init.zeros_(parameter)
        assert step(twin)["gradient_share_a"] == 1.0


def test_the_teacher_runs_before_the_student_and_only_in_training():
    """So it has given its memory back when the student keeps its activations."""
    torch.manual_seed(0)
    student, teacher, order = Net(4), Net(6), []
    student.low.register_forward_hook(lambda *_: order.append("student"))
    teacher.low.register_forward_hook(lambda *_: order.append("teacher"))
    Distiller(teacher, {"at": Term(AttentionTransferLoss(), "mid")}).attach(student)
    student(IMAGES)
    student.distiller.losses()
    assert order == ["teacher", "student"]
    student.eval()(IMAGES)
    assert order[2:] == ["student"]
