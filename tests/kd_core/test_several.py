"""Several teachers of one distiller, and several distillers of one student."""

import copy

import pytest
import torch
from torch import nn

from kd_core import Distiller, FrozenTeacher, GradientShares, Term
from kd_core.base_distiller import attached_distillers
from kd_core.losses import AttentionTransferLoss, FeatureImitationLoss, SoftTargetLoss
from kd_core.schedules import Stop

IMAGES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, width=8, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Conv2d(3, width, 3)
        self.head = nn.Linear(width, 5)
        self.runs = 0

    def forward(self, images):
        self.runs += 1
        return self.head(self.body(images).mean((2, 3)))


class Task(Net):
    """A network that returns a dict of losses in training."""

    def forward(self, images):
        return {"loss_own": super().forward(images).square().mean()}


class ChannelsLast(nn.Module):
    def forward(self, feature):
        return feature.permute(0, 2, 3, 1)


def terms():
    return {
        "map": Term(AttentionTransferLoss(), "body", teacher="a", schedule=Stop(at=1)),
        "logits": Term(SoftTargetLoss(), "head", teacher="b"),
    }


def alone(loss, layer, teacher, student):
    """The loss against one teacher, by hand."""
    found = {}
    for name, net in (("student", student), ("teacher", teacher)):
        handle = net.get_submodule(layer).register_forward_hook(
            lambda module, args, output, name=name: found.update({name: output})
        )
        net(IMAGES)
        handle.remove()
    return loss(found["student"], found["teacher"])


class TestTeachers:
    def test_each_term_compares_with_its_own(self):
        student, a, b = Net(), Net(8, 1), Net(6, 2)
        plain = copy.deepcopy(student)
        Distiller({"a": a, "b": b}, terms()).attach(student, (IMAGES,))
        student(IMAGES)
        losses = student.distiller.losses()
        expected = {
            "loss_map": alone(AttentionTransferLoss(), "body", a, plain),
            "loss_logits": alone(SoftTargetLoss(), "head", b, plain),
        }
        assert list(losses) == list(expected)
        torch.testing.assert_close(losses, expected)
        sum(losses.values()).backward()
        sum(expected.values()).backward()
        for own, other in zip(student.named_parameters(), plain.named_parameters(), strict=True):
            torch.testing.assert_close(own[1].grad, other[1].grad)
        assert all(p.grad is None for net in (a, b) for p in net.parameters())

    def test_each_runs_once_and_only_for_an_active_term(self):
        student, a, b = Net(), Net(8, 1), Net(8, 2)
        twice = {**terms(), "more": Term(AttentionTransferLoss(), "body", teacher="b")}
        Distiller({"a": a, "b": b}, twice).attach(student)
        for expected in ((1, 1), (1, 2)):  # "map", the only term of a, stops at iteration 1
            student(IMAGES)
            student.distiller.losses()
            assert (a.runs, b.runs) == expected

    def test_all_follow_the_student_and_are_not_saved(self):
        student, a, b = Net(), Net(8, 1), FrozenTeacher(Net(6, 2))
        Distiller({"a": a, "b": b}, terms()).attach(student).double()
        moved = [*a.parameters(), *b.model.parameters()]
        assert all(one.dtype == torch.float64 and not one.requires_grad for one in moved)
        saved = [name for name in student.state_dict() if not name.startswith(("body.", "head."))]
        assert saved == ["distiller.iteration"]
        twin = copy.deepcopy(student).distiller
        assert twin.teachers == student.distiller.teachers

    def test_connectors_have_the_size_of_their_own_teacher(self):
        student = Net(4)
        both = {
            name: Term(FeatureImitationLoss(), "body", teacher=name) for name in ("wide", "wider")
        }
        teachers = {"wide": Net(6, 1), "wider": Net(9, 2)}
        Distiller(teachers, both).attach(student, (IMAGES,))
        found = student.distiller.connectors
        sizes = {name: found[name]["0"].project.out_channels for name in found}
        assert sizes == {"wide": 6, "wider": 9}

    @pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
    def test_maps_of_one_are_turned_and_those_of_the_other_are_not(self, order):
        teachers = {"a": nn.Sequential(Net(8, 1).body, ChannelsLast()), "b": Net(6, 2)}
        both = {
            "turned": Term(AttentionTransferLoss(), "body", "1", teacher="a"),
            "plain": Term(AttentionTransferLoss(), "body", teacher="b"),
        }
        student = Net()
        distiller = Distiller({name: teachers[name] for name in order}, both)
        distiller.attach(student, (torch.randn(2, 3, 12, 20),))
        rows = {row.term: row for row in distiller.shape_table.rows}
        assert rows["turned"].teacher_layout and not rows["plain"].teacher_layout
        assert rows["turned"].teacher_shape == (2, 8, 10, 18)
        student(IMAGES)
        assert distiller.losses()["loss_turned"] > 0

    @pytest.mark.parametrize(
        "teachers, name, message",
        [
            (("a", "b"), None, "teacher of term 'x' must be one of 'a', 'b', but it is 'teacher'"),
            (("a", "b"), "c", "teacher of term 'x' must be one of 'a', 'b', but it is 'c'"),
            (None, "a", "teacher of term 'x' must be one of 'teacher', but it is 'a'"),
            (("a", "b"), "a", r"every teacher must have a term, but \['b'\] have none"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, teachers, name, message):
        models = Net() if teachers is None else {one: Net() for one in teachers}
        named = {} if name is None else {"teacher": name}
        with pytest.raises(ValueError, match=message):
            Distiller(models, {"x": Term(SoftTargetLoss(), "head", **named)})

    def test_the_only_one_has_no_name(self):
        distiller = Distiller(Net(), {"x": Term(SoftTargetLoss(), "head")})
        assert distiller.teacher is distiller.teachers["teacher"]
        with pytest.raises(ValueError, match="one teacher, but there are a, b"):
            _ = Distiller({"a": Net(), "b": Net()}, terms()).teacher

    def test_a_layer_is_looked_for_in_the_right_one(self):
        wrong = {**terms(), "logits": Term(SoftTargetLoss(), "head", "haed", teacher="b")}
        with pytest.raises(ValueError, match="the teacher 'b' .Net. has no layer 'haed'.* head"):
            Distiller({"a": Net(), "b": Net()}, wrong).attach(Net())

    def test_one_that_is_the_student_is_named(self):
        student = Net()
        with pytest.raises(ValueError, match="'the whole model' of the teacher 'b' is"):
            Distiller({"a": Net(), "b": student}, terms()).attach(student)


def at(name="at", teacher=None):
    return Distiller(teacher or Net(8, 1), {name: Term(AttentionTransferLoss(), "body")})


class TestDistillers:
    def test_both_add_their_losses_and_go_alone(self):
        student = Task()
        at().attach(student)
        kd = Distiller(Net(8, 2), {"kd": Term(SoftTargetLoss(), "head")})
        kd.attach(student, name="distiller_kd")
        assert list(attached_distillers(student)) == ["distiller", "distiller_kd"]
        assert list(student(IMAGES)) == ["loss_own", "loss_at", "loss_kd"]
        student.distiller.detach()
        assert list(student(IMAGES)) == ["loss_own", "loss_kd"]
        assert student.distiller_kd.current_iteration() == 2
        student.distiller_kd.detach()
        assert list(student(IMAGES)) == ["loss_own"]
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in student.modules())

    def test_the_values_are_those_of_one_distiller_with_all_terms(self):
        whole, parts, teacher = Net(), Net(), Net(8, 1)
        both = {
            "at": Term(AttentionTransferLoss(), "body"),
            "kd": Term(SoftTargetLoss(), "head"),
        }
        Distiller(teacher, both).attach(whole)
        for name, term in both.items():
            Distiller(teacher, {name: term}).attach(parts, name=f"distiller_{name}")
        whole(IMAGES), parts(IMAGES)
        expected = whole.distiller.losses()
        found = parts.distiller_at.losses() | parts.distiller_kd.losses()
        torch.testing.assert_close(found, expected)

    def test_keys_of_checkpoints(self):
        student = Net(4)
        for name in ("distiller", "distiller_2"):
            term = Term(FeatureImitationLoss(), "body")
            Distiller(Net(8, 1), {f"t{len(name)}": term}).attach(student, (IMAGES,), name=name)
        keys = {".".join(key.split(".")[:3]) for key in student.state_dict() if "dist" in key}
        assert keys == {
            "distiller.iteration", "distiller.connectors.t9",
            "distiller_2.iteration", "distiller_2.connectors.t11",
        }  # fmt: skip

    def test_losses_of_one_name_are_refused(self):
        student = Task()
        at().attach(student)
        at().attach(student, name="distiller_2")
        with pytest.raises(ValueError, match=r"distiller_2 adds \['loss_at'\], which another"):
            student(IMAGES)

    def test_losses_of_one_name_are_refused_where_the_student_returns_none(self):
        student = Net()
        at().attach(student)
        at().attach(student, name="distiller_2")
        student(IMAGES)
        student.distiller_2.losses()
        with pytest.raises(ValueError, match=r"distiller adds \['loss_at'\], which another"):
            student.distiller.losses()

    def test_the_task_is_what_the_student_returned(self):
        student = Task()
        at().attach(student)
        term = {"kd": Term(SoftTargetLoss(), "head")}
        second = Distiller(Net(8, 2), term, gradient_shares=GradientShares("body", 1))
        second.attach(student, name="distiller_2")
        for _ in range(2):
            found = student(IMAGES)
        parameters = list(student.body.parameters())
        norms = []
        for name in ("loss_own", "loss_kd"):
            gradients = torch.autograd.grad(found[name], parameters, retain_graph=True)
            norms.append(torch.cat([one.flatten() for one in gradients]).norm())
        assert all(norms)
        torch.testing.assert_close(found["gradient_share_task_2"], norms[0] / sum(norms))
        assert "gradient_share_task" not in found

    @pytest.mark.parametrize("name", ["other", "distiller2", "distiller_a.b", ""])
    def test_a_name_by_which_no_checkpoint_would_know_it(self, name):
        with pytest.raises(ValueError, match="name must be 'distiller' or 'distiller_<text>'"):
            at().attach(Net(), name=name)

    def test_a_name_that_is_taken(self):
        student = Net()
        at().attach(student, name="distiller_b")
        with pytest.raises(ValueError, match="no child 'distiller_b'.* name='distiller_2'"):
            at("other").attach(student, name="distiller_b")
        assert "loss_at" in (student(IMAGES), student.distiller_b.losses())[1]
