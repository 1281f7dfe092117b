"""Detectors that inherit neck and heads from their teacher."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict


@pytest.fixture
def teacher(tiny, tmp_path):
    """A teacher with the student's widths but for its classes, and its checkpoint."""

    def make(**options):
        config = tiny.faster_rcnn(**options)
        torch.save(tiny.build(config, seed=3).state_dict(), tmp_path / "teacher.pth")
        return dict(teacher=config, checkpoint=str(tmp_path / "teacher.pth"))

    return make


def test_a_detector_trains_from_its_teachers_neck_and_heads(tiny, teacher):
    modules = ["neck", "rpn_head", "roi_head"]
    options = teacher()
    model = tiny.build(tiny.distilled(**options, inherit=modules))  # init_weights comes last
    given = torch.load(options["checkpoint"])

    def same():
        own = {key: value for key, value in model.state_dict().items() if "distiller" not in key}
        parts = {key.split(".")[0] for key in own}
        equal = {key for key, value in own.items() if torch.equal(value, given[key])}
        return {part for part in parts if all(k in equal for k in own if k.startswith(part))}

    assert not same() & {*modules, "backbone"}
    assert all(torch.isfinite(v).all() for v in tiny.losses(model)["loss_rpn_cls"])
    assert same() >= set(modules)
    assert "backbone" not in same()


def test_another_backbone_stands_in_the_necks_way(tiny, teacher):
    config = tiny.distilled(**teacher(base_channels=16), inherit=["neck"])
    with pytest.raises(ValueError, match=r"neck: 8 input channels against the teacher's 16:\n"):
        MODELS.build(ConfigDict(config))


def test_other_classes_are_named_and_can_be_left_out(tiny, teacher):
    options = teacher(classes=80)
    config = tiny.distilled(**options, inherit=["rpn_head", "roi_head"])
    with pytest.raises(ValueError, match=r"roi_head: 3 classes against the teacher's 80:\n"):
        MODELS.build(ConfigDict(config))
    config["inherit"] = dict(modules=["rpn_head", "roi_head"], skip_mismatched=True)
    model = MODELS.build(ConfigDict(config))
    model.init_weights()
    tiny.losses(model)
    given = torch.load(options["checkpoint"])
    head = model.roi_head.bbox_head
    key = "roi_head.bbox_head.shared_fcs.0.weight"
    assert torch.equal(head.shared_fcs[0].weight, given[key])
    assert head.fc_cls.weight.shape != given["roi_head.bbox_head.fc_cls.weight"].shape
