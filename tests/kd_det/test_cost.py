"""Costs of detectors: multiply-adds of what runs, the second stage included."""

import pytest
import torch
from mmengine.config import Config
from torch import nn

from kd_det import task
from kd_det.probe import size_of_test_images
from kd_det.task import TASK
from kd_engine.cost.macs import count_macs
from kd_engine.cost.measure import candidates_of, measure


def by_hooks(model, run):
    """Multiply-adds of each convolution and linear layer by its output's size."""
    found = []

    def count(layer, args, output):
        found.append(output.numel() * layer.weight[0].numel())

    layers = [one for one in model.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    run()
    for handle in handles:
        handle.remove()
    return sum(found)


@pytest.mark.parametrize("name", ["faster_rcnn", "retinanet", "fcos", "yolox"])
def test_multiply_adds_are_those_of_the_layers_that_run(tiny, name):
    model = tiny.build(getattr(tiny, name)()).eval()
    image, origin = TASK.test_image(Config(), (160, 192))
    assert origin == "a random image, 160 x 192"
    with torch.no_grad():
        wanted = by_hooks(model, lambda: TASK.predict(model, image))
    assert count_macs(model, lambda: TASK.predict(model, image)) == wanted > 1e6


def test_the_rpn_counts_although_random_samples_have_proposals(tiny):
    model = tiny.build(tiny.faster_rcnn()).eval()
    ran = []
    model.rpn_head.register_forward_hook(lambda *_: ran.append("rpn"))
    with torch.no_grad():
        TASK.predict(model, TASK.test_image(Config(), (64, 64))[0])
    assert ran == ["rpn"]


def test_a_pair_of_detectors(tiny):
    config = Config(dict(default_scope="mmdet", model=tiny.distilled()))
    found = measure(candidates_of(config), TASK, [torch.device("cpu")], (64, 64), rounds=1)
    teacher, student = found.models["teacher"], found.models["student"]
    assert teacher.parameters > student.parameters and teacher.macs > student.macs
    assert len(found.notes) == 1 and found.notes[0].startswith("teacher, student: random weights")


def test_size_of_test_images():
    pipeline = [dict(type="LoadImageFromFile"), dict(type="Resize", scale=(1333, 800))]
    plain = dict(test_dataloader=dict(dataset=dict(pipeline=pipeline)))
    wrapped = dict(test_dataloader=dict(dataset=dict(dataset=dict(pipeline=pipeline))))
    assert size_of_test_images(Config(plain)) == size_of_test_images(Config(wrapped)) == (800, 1333)
    assert size_of_test_images(Config()) == (256, 320)


def test_hidden_multiply_adds_are_named(monkeypatch):
    class ModulatedDeformConv2dPack(nn.Identity):
        """Stands in for mmcv's."""

    model = nn.Sequential(ModulatedDeformConv2dPack(), nn.Conv2d(1, 1, 1))
    assert TASK.uncounted(model) == ""  # torchvision's are counted
    monkeypatch.setattr(task, "provide_ops", lambda: "compiled")
    assert TASK.uncounted(model) == "ModulatedDeformConv2dPack"
