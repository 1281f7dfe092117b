"""Knowledge of ROI heads: the teacher's runs on the boxes that the student has sampled."""

import copy

import numpy as np
import pytest
import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.structures.mask import BitmapMasks

from kd_core.losses import DKDLoss, RegionBoxLoss, SoftTargetLoss
from kd_engine.config.file import read_config


def roi_terms(layer="roi_head.bbox_head[0]", **changes):
    loss = dict(type="kd_core.losses.SoftTargetLoss", temperature=1.0)
    return dict(roi=dict(loss=loss, layers=layer, **changes))


@pytest.fixture
def spied(monkeypatch):
    """The ROI heads that ran, with their boxes and what they gave."""
    calls = []
    original = StandardRoIHead._bbox_forward

    def spy(self, x, rois):
        result = original(self, x, rois)
        calls.append((self, rois, result["cls_score"]))
        return result

    monkeypatch.setattr(StandardRoIHead, "_bbox_forward", spy)
    return calls


def test_class_scores_are_those_of_the_students_own_boxes(tiny, spied):
    model = tiny.build(tiny.distilled(terms=roi_terms()))
    teacher = model.distiller.teacher.model
    spied.clear()
    losses = tiny.losses(model)
    (own, boxes, scores), (other, their_boxes, their_scores) = spied  # each head runs once
    assert own is model.roi_head and other is teacher.roi_head
    assert torch.equal(boxes, their_boxes) and boxes.shape[1] == 5 and len(boxes) > 8
    torch.testing.assert_close(losses["loss_roi"], SoftTargetLoss(1.0)(scores, their_scores))
    losses["loss_roi"].backward()
    assert model.roi_head.bbox_head.fc_cls.weight.grad.abs().sum() > 0
    assert model.backbone.conv1.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_teacher_equal_to_the_student_gives_zero(tiny):
    config = tiny.faster_rcnn()
    model = tiny.build(tiny.distilled(config, config, roi_terms()))
    model.distiller.teacher.model.load_state_dict(
        {k: v for k, v in model.state_dict().items() if not k.startswith("distiller.")}
    )
    for module in model.modules():  # so that the student's batch norms do as the teacher's
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train = lambda mode=True: None
            module.training = False
    assert tiny.losses(model)["loss_roi"].item() == pytest.approx(0.0, abs=1e-6)


def test_the_own_losses_are_those_of_the_plain_student(tiny):
    model = tiny.build(tiny.distilled(terms=roi_terms()))
    twin = copy.deepcopy(model)
    twin.distiller.detach()
    ours, theirs = tiny.losses(model), tiny.losses(twin)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=0)


def test_features_of_regions_go_into_any_loss(tiny):
    loss = dict(type="kd_core.losses.FeatureImitationLoss")
    terms = dict(region=dict(loss=loss, layers="roi_head.bbox_roi_extractor"))
    model = tiny.build(tiny.distilled(terms=terms))
    (row,) = model.distiller.shape_table.rows
    assert row.connector and row.student_shape[1:] == (16, 7, 7)
    losses = tiny.losses(model)
    losses["loss_region"].backward()
    assert losses["loss_region"] > 0 and model.neck.fpn_convs[0].conv.weight.grad.abs().sum() > 0


def test_terms_of_the_neck_and_of_the_rpn_share_the_teachers_one_run(tiny):
    loss = dict(type="kd_core.losses.AttentionTransferLoss")
    terms = roi_terms() | dict(
        at=dict(loss=loss, layers="neck[0:4]"), rpn=dict(loss=loss, layers="rpn_head[0]")
    )
    model = tiny.build(tiny.distilled(terms=terms))
    ran = []
    for name, part in model.distiller.teacher.model.named_children():
        part.register_forward_hook(lambda *_, name=name: ran.append(name))
    losses = tiny.losses(model)
    assert ran == ["backbone", "neck", "rpn_head"]
    assert all(losses[f"loss_{name}"] > 0 for name in terms)


def cascade(tiny, classes=3):
    config = tiny.faster_rcnn(classes=classes)
    roi_head = config["roi_head"]
    roi_head.update(type="CascadeRoIHead", num_stages=2, stage_loss_weights=[1, 0.5])
    roi_head["bbox_roi_extractor"] = [roi_head["bbox_roi_extractor"]] * 2
    roi_head["bbox_head"] = [roi_head["bbox_head"]] * 2
    config["train_cfg"]["rcnn"] = [config["train_cfg"]["rcnn"]] * 2
    return config


def test_each_stage_of_a_cascade_learns_from_its_own(tiny):
    loss = dict(type="kd_core.losses.SoftTargetLoss")
    stages = {f"stage{n}": dict(loss=loss, layers=f"roi_head.bbox_head.{n}[0]") for n in range(2)}
    model = tiny.build(tiny.distilled(cascade(tiny), cascade(tiny), stages))
    losses = tiny.losses(model)
    losses["loss_stage1"].backward(retain_graph=True)
    heads = model.roi_head.bbox_head
    assert heads[1].fc_cls.weight.grad.abs().sum() > 0 and heads[0].fc_cls.weight.grad is None
    losses["loss_stage0"].backward()
    assert heads[0].fc_cls.weight.grad.abs().sum() > 0


def test_a_plain_student_learns_from_a_stage_of_a_cascade(tiny):
    terms = roi_terms(teacher_layers="roi_head.bbox_head.1[0]")
    model = tiny.build(tiny.distilled(tiny.faster_rcnn(), cascade(tiny), terms))
    assert tiny.losses(model)["loss_roi"] > 0


@pytest.mark.parametrize(
    ("student", "teacher", "terms", "message"),
    [
        ("retinanet", "faster_rcnn",
         roi_terms("bbox_head[0]", teacher_layers="roi_head.bbox_head[0]"),
         "but the student has none"),
        ("faster_rcnn", "retinanet", roi_terms(teacher_layers="roi_head.bbox_head[0]"),
         "but the teacher has none"),
        ("cascade", "faster_rcnn",
         roi_terms("roi_head.bbox_head.0[0]", teacher_layers="roi_head.bbox_head[0]"),
         "needs a teacher with one, stage for stage"),
    ],
)  # fmt: skip
def test_heads_of_another_kind_are_refused(tiny, student, teacher, terms, message):
    made = {"cascade": lambda: cascade(tiny)}
    configs = [made.get(name, getattr(tiny, name, None))() for name in (student, teacher)]
    with pytest.raises(ValueError, match=message):
        tiny.build(tiny.distilled(*configs, terms))


def test_a_teacher_of_other_classes_is_refused(tiny):
    with pytest.raises(ValueError, match="need the same classes in the same order"):
        tiny.build(tiny.distilled(teacher=tiny.faster_rcnn(classes=5), terms=roi_terms()))


LABELS = "roi_head.bbox_head.loss_cls.input[1]"


def test_labels_of_the_students_own_boxes_reach_the_losses(tiny, spied):
    terms = dict(
        classes=dict(loss=dict(type="kd_core.losses.DKDLoss"), layers="roi_head.bbox_head[0]",
                     inputs=dict(labels=LABELS)),
        boxes=dict(loss=dict(type="kd_core.losses.RegionBoxLoss"), layers="roi_head.bbox_head[1]",
                   inputs=dict(labels=LABELS)),
    )  # fmt: skip
    model = tiny.build(tiny.distilled(terms=terms))
    seen = {}
    model.roi_head.bbox_head.loss_cls.register_forward_hook(
        lambda _, args, __: seen.update(labels=args[1])
    )
    boxes = []
    for one in (model, model.distiller.teacher.model):
        one.roi_head.bbox_head.fc_reg.register_forward_hook(lambda *all: boxes.append(all[2]))
    spied.clear()
    losses = tiny.losses(model)
    scores, target = (call[2] for call in spied)
    assert (seen["labels"] < 3).any() and (seen["labels"] == 3).any()
    torch.testing.assert_close(losses["loss_classes"], DKDLoss()(scores, target, seen["labels"]))
    torch.testing.assert_close(losses["loss_boxes"], RegionBoxLoss()(*boxes, seen["labels"]))
    losses["loss_boxes"].backward()
    assert model.roi_head.bbox_head.fc_reg.weight.grad.abs().sum() > 0


def test_an_input_that_the_loss_does_not_take_is_named(tiny):
    with pytest.raises(
        ValueError, match=r"inputs must be some of \[\], which SoftTargetLoss takes"
    ):
        tiny.build(tiny.distilled(terms=roi_terms(inputs=dict(labels=LABELS))))


def mask_rcnn(tiny):
    config = tiny.faster_rcnn()
    published = read_config("mmdet::_base_/models/mask-rcnn_r50_fpn.py").model.to_dict()
    config["type"] = "MaskRCNN"
    for name in ("mask_roi_extractor", "mask_head"):
        config["roi_head"][name] = copy.deepcopy(published["roi_head"][name])
    config["roi_head"]["mask_roi_extractor"].update(out_channels=16)
    config["roi_head"]["mask_head"].update(
        in_channels=16, conv_out_channels=16, num_convs=1, num_classes=3
    )
    config["train_cfg"]["rcnn"]["mask_size"] = 28
    return config


def losses_with_masks(tiny, model, boxes):
    batch = tiny.batch(model)
    for sample in batch["data_samples"]:
        sample.gt_instances = sample.gt_instances[: 2 if boxes else 0]
        height, width = batch["inputs"].shape[2:]
        masks = np.ones((len(sample.gt_instances), height, width), np.uint8)
        sample.gt_instances.masks = BitmapMasks(masks, height, width)
    torch.manual_seed(0)
    return model.train()(**batch, mode="loss")


def test_masks_of_the_students_own_positive_boxes_and_of_none(tiny):
    loss = dict(type="kd_core.losses.FeatureImitationLoss")
    terms = dict(masks=dict(loss=loss, layers="roi_head.mask_head"))
    model = tiny.build(tiny.distilled(mask_rcnn(tiny), mask_rcnn(tiny), terms))
    seen = []
    for one in (model, model.distiller.teacher.model):
        one.roi_head.mask_head.register_forward_hook(lambda *all: seen.append(all[2]))
    losses = losses_with_masks(tiny, model, boxes=True)
    torch.testing.assert_close(losses["loss_masks"], torch.nn.functional.mse_loss(*seen))
    assert losses["loss_masks"] > 0
    losses = losses_with_masks(tiny, model, boxes=False)
    assert losses["loss_masks"] == 0.0
    losses["loss_masks"].backward()
