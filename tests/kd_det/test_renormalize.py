import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmengine.dataset import pseudo_collate

from kd_engine.data.renormalize import Renormalize

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
CAFFE = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False)
PAIRS = {
    "other statistics": (IMAGENET, dict(IMAGENET, mean=[10.0, 20.0, 30.0], std=[5.0, 6.0, 7.0])),
    "other order": (IMAGENET, dict(IMAGENET, bgr_to_rgb=False)),
    "both, as the Caffe models": (IMAGENET, CAFFE),
    "back": (CAFFE, IMAGENET),
    "not normalized at all": (IMAGENET, dict(pad_value=114)),
    "from not normalized": (dict(pad_value=114), IMAGENET),
    "other padding": (IMAGENET, dict(IMAGENET, pad_value=3)),
}


def preprocessors(student, teacher):
    return tuple(DetDataPreprocessor(pad_size_divisor=32, **c) for c in (student, teacher))


def batches(tiny, pair):
    return [one(pseudo_collate(tiny.samples(4)), training=True) for one in pair]


@pytest.mark.parametrize("name", PAIRS)
def test_the_teacher_sees_what_its_own_preprocessor_makes(tiny, name):
    pair = preprocessors(*PAIRS[name])
    renormalize = Renormalize(*pair)
    assert renormalize.needed
    ours, theirs = batches(tiny, pair)
    assert not torch.allclose(ours["inputs"], theirs["inputs"], atol=1e-3)
    found = renormalize(ours["inputs"], ours["data_samples"])
    torch.testing.assert_close(found, theirs["inputs"], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("config", [IMAGENET, CAFFE, {}])
def test_equal_preprocessors_need_nothing(config):
    assert not Renormalize(*preprocessors(config, config)).needed


@pytest.mark.parametrize("name", PAIRS)
def test_the_students_batch_stays_as_it_is(tiny, name):
    pair = preprocessors(*PAIRS[name])
    batch = batches(tiny, pair)[0]
    before = batch["inputs"].clone()
    Renormalize(*pair)(batch["inputs"], batch["data_samples"])
    assert torch.equal(batch["inputs"], before)


def test_it_happens_in_a_distilled_detector(tiny):
    terms = dict(
        fake=dict(loss=dict(type="kd_core.losses.AttentionTransferLoss"), layers="backbone.conv1")
    )
    teacher = tiny.faster_rcnn(**CAFFE)
    model = tiny.build(tiny.distilled(teacher=teacher, terms=terms))
    seen = []
    frozen = model.distiller.teacher.model
    frozen.backbone.conv1.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    tiny.losses(model)
    torch.testing.assert_close(seen[0], tiny.batch(frozen)["inputs"], rtol=1e-5, atol=1e-3)
