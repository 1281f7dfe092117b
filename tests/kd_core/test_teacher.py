import copy

import pytest
import torch
from torch import nn

from kd_core import Distiller, FrozenTeacher, Term
from kd_core.layers import LayerPath
from kd_core.losses import AttentionTransferLoss, FeatureImitationLoss


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


class DropPath(nn.Module):
    """Drops whole samples in training, as stochastic depth does."""

    def forward(self, feature):
        if not self.training:
            return feature
        return feature * (torch.rand(len(feature), 1, 1, 1) < 0.5)


def network(width):
    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Dropout(), DropPath(), nn.Flatten()
    )


def attached(teacher, layer="3"):
    student = network(4)
    Distiller(teacher, {"at": Term(AttentionTransferLoss(), layer)}).attach(student)
    return student


def images():
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def run(teacher, *args, layer="3", **kwargs):
    """Run a teacher by itself and return one layer's output."""
    selector = LayerPath.parse(layer)
    return teacher.run(args, kwargs, {"x": {"": [selector]}})["x"][""]


def test_the_student_does_not_own_it():
    plain = [name for name, _ in network(4).named_parameters()]
    teacher = FrozenTeacher(network(8))
    student = attached(teacher)
    assert [name for name, _ in student.named_parameters()] == plain
    assert set(student.state_dict()) - set(network(4).state_dict()) == {"distiller.iteration"}
    assert not any(module is teacher.model for _, module in student.named_modules())


def test_it_follows_a_cast_of_the_student_and_of_its_wrapper():
    teacher = FrozenTeacher(network(8))
    student = attached(teacher)

    def dtypes():
        return {item.dtype for item in teacher.model.state_dict().values()} - {torch.int64}

    student.double()
    assert dtypes() == {torch.float64}
    student(images().double())
    assert student.distiller.losses()["loss_at"].isfinite()
    nn.ModuleDict({"wrapped": nn.Sequential(student)}).half()
    assert dtypes() == {torch.float16}
    student.to(torch.bfloat16)
    assert dtypes() == {torch.bfloat16}
    assert student.distiller.iteration.dtype == torch.int64


def test_it_follows_to_another_device():
    teacher = FrozenTeacher(network(8))
    attached(teacher).to("meta")
    assert {item.device.type for item in teacher.model.state_dict().values()} == {"meta"}


def test_it_is_in_eval_mode_whatever_the_student_does():
    teacher = FrozenTeacher(network(8))
    student = attached(teacher)
    student.train()
    teacher.model.train()
    seen = []
    for module in teacher.model.modules():
        module.register_forward_hook(lambda module, *_: seen.append(module.training))
    student(images())
    student.distiller.losses()
    assert len(seen) == 6 and not any(seen)


def test_dropout_and_drop_path_are_off():
    model = network(8)
    expected = model.eval()[:4](images())
    torch.testing.assert_close(run(FrozenTeacher(model), images()), expected, rtol=0, atol=0)


def test_its_weights_and_buffers_stay_bit_identical():
    teacher = FrozenTeacher(network(8))
    before = copy.deepcopy(teacher.model.state_dict())
    student = attached(teacher)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    for _ in range(3):
        output = student(images())
        (output.square().mean() + student.distiller.losses()["loss_at"]).backward()
        optimizer.step()
    after = teacher.model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert before["1.num_batches_tracked"] == 0
    assert student[1].num_batches_tracked == 3


def test_no_gradient_reaches_it():
    teacher = FrozenTeacher(network(8))
    student = attached(teacher, layer="1")  # before the samples that the student drops
    student(images())
    student.distiller.losses()["loss_at"].backward()
    assert all(p.grad is None and not p.requires_grad for p in teacher.model.parameters())
    assert student[0].weight.grad.abs().sum() > 0
    assert not run(teacher, images().requires_grad_()).requires_grad


def test_a_copy_of_the_student_shares_it():
    teacher = FrozenTeacher(network(8))
    student = attached(teacher)
    twin = copy.deepcopy(student)
    assert twin.distiller.teacher is teacher
    assert twin.distiller is not student.distiller


def test_it_runs_on_the_students_arguments():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, images, factor=1.0):
            return self.layer(images * factor)

    found = run(FrozenTeacher(Scaled()), images(), layer="layer", factor=3.0)
    torch.testing.assert_close(found, images() * 3.0)


def test_an_own_forward_replaces_the_default():
    model, calls = network(8), []

    def upto_dropout(model, images):
        calls.append(model)
        return model[:3](images * 2)

    found = run(FrozenTeacher(model, upto_dropout), images(), layer="2")
    assert calls == [model]
    torch.testing.assert_close(found, model[:3](images() * 2))


def test_precision_is_that_of_its_forward_alone():
    teacher = FrozenTeacher(network(8), precision=torch.bfloat16)
    assert run(teacher, images(), layer="0").dtype == torch.bfloat16
    assert run(FrozenTeacher(network(8)), images(), layer="0").dtype == torch.float32
    student = attached(teacher)
    assert student(images()).dtype == torch.float32
    assert student.distiller.losses()["loss_at"].dtype == torch.float32


def test_without_precision_it_follows_the_students_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert run(FrozenTeacher(network(8)), images(), layer="0").dtype == torch.bfloat16


def test_an_error_in_its_forward_leaves_no_features_behind():
    teacher = FrozenTeacher(network(8))
    with pytest.raises(RuntimeError):
        run(teacher, torch.zeros(1, 5, 8, 8))
    torch.testing.assert_close(run(teacher, images()), teacher.model[:4](images()))


def test_two_students_may_share_one():
    teacher = FrozenTeacher(network(8))
    first, second = attached(teacher), network(4)
    Distiller(teacher, {"at": Term(AttentionTransferLoss(), "1")}).attach(second)
    for student in (first, second):
        student(images())
        assert student.distiller.losses()["loss_at"] > 0
    second.distiller.detach()
    first(images())
    assert first.distiller.losses()["loss_at"] > 0


def test_no_hook_stays_on_it_after_detaching():
    teacher = FrozenTeacher(network(8))
    student = attached(teacher)
    student(images())
    student.distiller.losses()
    student.distiller.detach()
    assert not any(module._forward_hooks for module in teacher.model.modules())


def test_a_teacher_that_follows_runs_after_the_student_on_what_its_layer_got():
    order = []

    def forward(model, images, followed=None):
        order.append("teacher")
        return model(followed["doubled"])

    def net():
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))

    student, teacher = net(), net()
    student[1].register_forward_hook(lambda *_: order.append("student"))
    follows = {"doubled": LayerPath.parse("1.input[0]")}
    frozen = FrozenTeacher(teacher, forward, follows=follows)
    term = Term(FeatureImitationLoss(), "1")
    images = torch.randn(2, 3, 2, 2)
    Distiller(frozen, {"term": term}).attach(student, example=(images,))
    order.clear()
    found = student(images)
    value = student.distiller.losses()["loss_term"]
    assert order == ["student", "teacher"]
    torch.testing.assert_close(value, FeatureImitationLoss()(found, teacher(images.flatten(1))))
