"""Detectors that learn from the average, or snapshots, of their own weights."""

import pytest
import torch

from .test_training import Interrupt, Keep, loads_into_plain, same, weights


def terms():
    """Maps of the neck and class scores of the regions that the student has sampled."""
    imitation = dict(
        loss=dict(type="kd_core.losses.FeatureImitationLoss"),
        layers="neck[0:4]",
        schedule=dict(type="kd_core.schedules.LinearWarmup", end=2),
    )
    classes = dict(loss=dict(type="kd_core.losses.SoftTargetLoss"), layers="roi_head.bbox_head[0]")
    return dict(imitation=imitation, classes=classes)


def config(tiny, student=None, own=None, **options):
    return dict(
        type="kd_det.SelfTeacher",
        student=student or tiny.faster_rcnn(),
        terms=own or terms(),
        dry_run_size=(64, 64),
        **options,
    )


def of_student(model):
    own = model.state_dict()
    return {name: own[name] for name in own if not name.startswith("distiller.")}


def move(model):
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.1)


def test_it_starts_as_the_initialized_student_and_then_teaches(tiny):
    model = tiny.build(config(tiny, momentum=0.75))
    first = tiny.losses(model)
    assert "loss_imitation" not in first and first["loss_classes"] < 1e-6  # norms are frozen
    same(model.distiller.earlier.state_dict(), of_student(model))
    before = model.backbone.conv1.weight.detach().clone()
    move(model)
    losses = tiny.losses(model)
    kept = model.distiller.earlier.backbone.conv1.weight
    torch.testing.assert_close(kept, 0.75 * before + 0.25 * model.backbone.conv1.weight.detach())
    assert losses["loss_imitation"] > 0 and losses["loss_classes"] > 0
    (losses["loss_imitation"] + losses["loss_classes"]).backward()
    assert model.backbone.conv1.weight.grad.any()
    assert all(p.grad is None for p in model.distiller.earlier.parameters())


def test_a_resumed_run_is_the_unbroken_one_and_its_student_is_plain(tiny, tmp_path):
    whole, first, second = (tmp_path / name for name in ("whole", "first", "second"))
    straight, resumed = Keep(), Keep()
    model = config(tiny, momentum=0.5)
    tiny.runner(model, whole, 4, custom_hooks=[straight]).train()
    with pytest.raises(KeyboardInterrupt):
        tiny.runner(model, first, 4, custom_hooks=[Interrupt(after=2)]).train()
    last = str(first / "iter_2.pth")
    tiny.runner(model, second, 4, custom_hooks=[resumed], load_from=last, resume=True).train()
    state = weights(whole / "iter_4.pth")
    same(state, weights(second / "iter_4.pth"))
    assert straight.logged[2:] == resumed.logged and resumed.logged[0]["loss_classes"] > 0
    loads_into_plain(tiny.faster_rcnn(), state)
    ours = {name.split(".")[1] for name in state if name.startswith("distiller.")}
    assert ours == {"iteration", "begun", "earlier"}


def test_detached_it_is_the_plain_student(tiny):
    model = tiny.build(config(tiny))
    tiny.losses(model)
    plain = tiny.build(tiny.faster_rcnn())
    assert model.distiller.detach().state_dict().keys() == plain.state_dict().keys()


def test_dense_responses_of_a_snapshot_in_half_precision(tiny):
    own = dict(
        classes=dict(
            loss=dict(type="kd_core.losses.ClassResponseLoss", anchors=9), layers="bbox_head[0]"
        ),
        boxes=dict(
            loss=dict(type="kd_core.losses.BoxResponseLoss"),
            layers=dict(scores="bbox_head[0]", boxes="bbox_head[1]"),
        ),
    )
    model = tiny.build(config(tiny, tiny.retinanet(), own, every=1))
    model.distiller.set_run_length(2)
    for _ in range(2):
        move(model)
        with torch.autocast("cpu", dtype=torch.bfloat16):  # it keeps the weights that it has cast
            losses = tiny.losses(model)
    ours = losses["loss_classes"], losses["loss_boxes"]
    assert all(value.dtype == torch.float32 and value > 0 for value in ours)
    sum(ours).backward()
    assert model.backbone.conv1.weight.grad.any()


def test_a_term_of_another_teacher_is_refused(tiny):
    other = dict(terms()["imitation"], teacher="large")
    with pytest.raises(
        ValueError, match="the teacher of term 'imitation' must be one of 'teacher'"
    ):
        tiny.build(config(tiny, own=dict(imitation=other)))
