"""Comparison of what two detectors predict, of whatever kind."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData
from torch import nn

from kd_det import export_check
from kd_det.outputs import of_every_score, predictions, raw_outputs, require_same

BOXES = torch.tensor([[0.0, 1, 2, 3]])


class Detector(nn.Module):
    """It predicts what it is told to, and outputs two maps."""

    def __init__(self, *samples, bias=0.0):
        super().__init__()
        self.samples, self.bias, self.given = samples, bias, []

    def test_step(self, batch):
        (one,) = batch["data_samples"]
        self.given.append(one)
        return [self.samples[one.img_id]]

    def data_preprocessor(self, batch, training):
        return dict(inputs=torch.ones(1, 3, 4, 4), data_samples=None)

    def forward(self, inputs, data_samples, mode):
        return (inputs.mean(1), {"scores": inputs + self.bias})


def sample(**parts):
    found = DetDataSample(metainfo=dict(img_id=0))
    found.gt_instances = InstanceData(bboxes=BOXES)
    for name, part in parts.items():
        setattr(found, name, part)
    return found


def batch_of(*samples):
    return {"inputs": list(samples), "data_samples": list(samples)}


def test_each_image_alone_and_only_detectors_without_rpn_get_proposals():
    proposals = InstanceData(bboxes=BOXES)
    given = [sample(proposals=proposals), sample()]
    given[0].set_metainfo({"img_id": 1})
    for rpn in (None, nn.Identity()):
        model = Detector(sample(pred_instances=InstanceData(bboxes=BOXES)), sample())
        model.rpn_head = rpn
        assert list(predictions(model, batch_of(*given))) == ["image 1: pred_instances.bboxes"]
        assert ["proposals" in one for one in model.given] == [rpn is None, False]
    assert "proposals" in given[0]


def test_boxes_masks_and_panoptic_maps_are_found():
    instances = InstanceData(
        bboxes=HorizontalBoxes(BOXES), scores=torch.ones(1), labels=torch.zeros(1).long(),
        masks=BitmapMasks(np.ones((1, 4, 4), dtype=np.uint8), 4, 4),
    )  # fmt: skip
    areas = PixelData(sem_seg=torch.ones(1, 4, 4).long())
    found = predictions(
        Detector(sample(pred_instances=instances, pred_panoptic_seg=areas)), batch_of(sample())
    )
    assert {place: tuple(one.shape) for place, one in found.items()} == {
        "image 0: pred_instances.bboxes": (1, 4),
        "image 0: pred_instances.scores": (1,),
        "image 0: pred_instances.labels": (1,),
        "image 0: pred_instances.masks": (1, 4, 4),
        "image 0: pred_panoptic_seg.sem_seg": (1, 4, 4),
    }
    assert require_same(found, found) == 4 + 1 + 1 + 16 + 16


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (dict(a=BOXES), dict(a=BOXES + 1e-3), "a differs by up to 0.001"),
        (dict(a=BOXES), dict(a=BOXES[:0]), r"at a one has \(1, 4\) .* \(0, 4\)"),
        (dict(a=BOXES, b=BOXES), dict(a=BOXES), "only one of them has b"),
        (dict(a=BOXES), dict(a=BOXES * torch.nan), "a differs"),
    ],
)
def test_differences_are_named(one, other, message):
    with pytest.raises(ValueError, match=message):
        require_same(one, other)


def test_without_boxes_the_heads_are_compared(monkeypatch):
    empty = sample(pred_instances=InstanceData(bboxes=BOXES[:0], scores=torch.ones(0)))
    models = [Detector(empty), Detector(empty)]
    monkeypatch.setattr(export_check, "models_to_compare", lambda *_: models)
    monkeypatch.setattr(export_check, "test_batch", lambda config: (batch_of(sample()), "2 images"))
    text = export_check.check_export(Config({}), "", "student.pth", "")
    assert "outputs the same 64 numbers as the distilled model, of which no box comes" in text
    models[1] = Detector(empty, bias=0.5)
    with pytest.raises(
        ValueError, match=r"plain mmdet must output .*output\[1\]\[scores\] differs"
    ):
        export_check.check_export(Config({}), "", "student.pth", "")


def test_a_detector_with_which_mmdet_cannot_predict(monkeypatch):
    models = [Detector(), Detector()]  # no sample to return
    monkeypatch.setattr(export_check, "models_to_compare", lambda *_: models)
    monkeypatch.setattr(export_check, "test_batch", lambda config: (batch_of(sample()), "an image"))
    text = export_check.check_export(Config({}), "", "student.pth", "")
    assert (
        "the same 64 numbers as the distilled model, from which mmdet fails to predict (Ind" in text
    )
    models[1] = Detector(sample(pred_instances=InstanceData(bboxes=BOXES)))
    with pytest.raises(ValueError, match="one of them fails: IndexError"):
        export_check.check_export(Config({}), "", "student.pth", "")


def test_raw_outputs_and_thresholds():
    assert list(raw_outputs(Detector(), {})) == ["output[0]", "output[1][scores]"]
    found = of_every_score(dict(type="D", test_cfg=dict(rcnn=dict(score_thr=0.5, nms=1))))
    assert found == dict(type="D", test_cfg=dict(rcnn=dict(score_thr=0.0, nms=1)))
    assert of_every_score(dict(type="D", test_cfg=None)) == dict(type="D", test_cfg=None)
