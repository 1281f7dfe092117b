"""Detectors that cannot be a pair, or not as they are: refused before training, with a remedy."""

import copy
import types

import pytest
import torch
from mmcv.ops import MaskedConv2d
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import nn

from kd_core import FrozenTeacher, Term
from kd_core.layers import LayerPath
from kd_core.losses import AttentionTransferLoss
from kd_det.adapter import DetectorAdapter
from kd_det.probe import fixed_image_size, size_of_test_images
from kd_engine.distilled import attach
from kd_engine.doctor import one_step as module
from kd_engine.doctor.one_step import one_step

TERMS = {"at": Term(AttentionTransferLoss(), "backbone")}


class Detector(nn.Module):
    """A backbone that takes only images of multiples of some number of pixels, and no less."""

    def __init__(self, pads_to=1, needs=1, least=1, **attributes):
        super().__init__()
        self.data_preprocessor = nn.Module()
        self.data_preprocessor.pad_size_divisor = pads_to
        self.backbone = nn.Conv2d(3, 4, 3)
        self.needs, self.least = needs, least
        vars(self.backbone).update(attributes)

    def forward(self, inputs, data_samples=None, mode="tensor"):
        return self.backbone(inputs)

    def train(self, mode=True):
        """Switch the mode and return nothing, as mmdet's LD does."""
        super().train(mode)


@pytest.fixture(autouse=True)
def images_are_checked(monkeypatch):
    plain = nn.Conv2d.forward

    def run(self, images):
        if (owner := vars(self).get("owner")) and images.shape[2] % owner.needs:
            raise RuntimeError("sizes of two maps differ")
        if owner and images.shape[2] < owner.least:
            raise RuntimeError("Kernel size can't be greater than actual input size")
        return plain(self, images)

    monkeypatch.setattr(nn.Conv2d, "forward", run)


def detector(**changes):
    model = Detector(**changes)
    vars(model.backbone)["owner"] = types.SimpleNamespace(needs=model.needs, least=model.least)
    return model


def distilled(student, teacher, **options):
    return attach(DetectorAdapter(), student, teacher, TERMS, **options)


def test_a_teacher_that_needs_more_padding_than_the_student_gives():
    student = detector(pads_to=32)
    with pytest.raises(
        ValueError, match=r"of 32, the teacher to multiples of 128.*288 x 288.*=128 in"
    ):
        distilled(student, detector(pads_to=128, needs=128))
    assert not hasattr(student, "distiller")
    distilled(detector(pads_to=32), detector(pads_to=128))  # it takes them all the same
    distilled(detector(pads_to=128), detector(pads_to=128, needs=128))


def test_images_of_the_dry_run_that_are_too_small():
    with pytest.raises(ValueError, match="256 x 256 pixels failed: Kernel size.*dry_run_size="):
        distilled(detector(least=300), detector())
    distilled(detector(least=300), detector(), dry_run_size=(320, 320))


def test_the_fixed_size_of_ssd_is_taken():
    ssd = detector()
    ssd.bbox_head = nn.Module()
    ssd.bbox_head.prior_generator = types.SimpleNamespace(input_size=(300, 300))
    assert fixed_image_size(ssd) == (300, 300) and fixed_image_size(detector()) is None
    assert DetectorAdapter().image_size(detector(), ssd) == (300, 300)


def test_an_export_is_compared_at_the_size_of_the_dry_run():
    resize = dict(type="Resize", scale=(1333, 800))
    config = dict(test_dataloader=dict(dataset=dict(pipeline=[resize])), model=dict(type="D"))
    assert size_of_test_images(Config(copy.deepcopy(config))) == (800, 1333)
    config["model"]["dry_run_size"] = (64, 96)
    assert size_of_test_images(Config(config)) == (64, 96)


def test_a_detector_without_a_preprocessor_of_its_own(tiny):
    config = tiny.retinanet()
    config.pop("data_preprocessor")
    with pytest.raises(
        ValueError, match=r"the config of the teacher \(RetinaNet\) has no data_pre"
    ):
        distilled(detector(), tiny.build(config))


def test_a_tridentnet_is_no_student():
    with pytest.raises(ValueError, match="student's Conv2d returns 3, .*in training"):
        distilled(detector(num_branch=3, test_branch_idx=1), detector())
    with pytest.raises(ValueError, match="teacher's Conv2d returns 3, .*Set test_branch_idx=1"):
        distilled(detector(), detector(num_branch=3, test_branch_idx=-1))
    distilled(detector(), detector(num_branch=3, test_branch_idx=1))


def test_the_head_of_guided_anchoring_takes_no_batch():
    teacher = detector()
    teacher.bbox_head = MaskedConv2d(4, 4, 1)
    terms = {"kl": Term(AttentionTransferLoss(), "bbox_head")}
    with pytest.raises(ValueError, match="take batches, but Detector .* a term reads bbox_head"):
        attach(DetectorAdapter(), detector(), teacher, terms)
    distilled(detector(), teacher)  # which reads its backbone


def test_a_model_whose_train_returns_nothing_can_be_a_teacher():
    teacher = FrozenTeacher(detector())
    teacher.check([LayerPath.parse("backbone")])
    assert not teacher.model.backbone.training


def test_a_step_of_yolox_that_resizes_its_batches(tiny, monkeypatch):
    """It asks mmengine's MessageHub for the iteration, which a run sets."""
    config = tiny.yolox()
    config["data_preprocessor"]["batch_augments"] = [
        dict(type="BatchSyncRandomResize", random_size_range=(64, 96), interval=1)
    ]
    model = tiny.build(config)
    seen = []
    model.backbone.register_forward_hook(lambda _, args, __: seen.append(args[0].shape[2:]))
    loader = torch.utils.data.DataLoader(tiny.samples(4), batch_size=2, collate_fn=pseudo_collate)
    monkeypatch.setattr(module.Runner, "build_dataloader", lambda *_, **__: loader)
    report = one_step(model, Config(dict(train_dataloader=dict(x=1), train_cfg=dict(max_epochs=2))))
    assert report.images == 2 and report.norm > 0 and seen
