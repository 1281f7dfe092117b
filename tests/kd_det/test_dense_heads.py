"""Responses of one-stage heads and of the RPN: layers like any other, in loss and dry run."""

import copy
import functools

import pytest
import torch

from kd_core.anchor_region import square_anchors
from kd_core.losses import ClassResponseLoss
from kd_engine.config.file import read_config


@functools.cache
def _published(name):
    return read_config(f"mmdet::{name}").model.to_dict()


def _narrow(tiny, name, width=32):
    config = copy.deepcopy(_published(name))
    config["backbone"] = tiny.backbone()
    config["neck"].update(in_channels=tiny.channels(), out_channels=width)
    config["bbox_head"].update(in_channels=width, feat_channels=width, num_classes=3)
    return config


def atss(tiny):
    return _narrow(tiny, "atss/atss_r50_fpn_1x_coco.py")


def gfl(tiny):
    return _narrow(tiny, "gfl/gfl_r50_fpn_1x_coco.py")


def rtmdet(tiny):
    config = copy.deepcopy(_published("rtmdet/rtmdet_tiny_8xb32-300e_coco.py"))
    config["data_preprocessor"]["batch_augments"] = None
    config["backbone"].update(
        deepen_factor=0.33, widen_factor=0.125, norm_cfg=dict(type="BN"), init_cfg=None
    )
    config["neck"].update(
        in_channels=[32, 64, 128], out_channels=16, num_csp_blocks=1, norm_cfg=dict(type="BN")
    )
    config["bbox_head"].update(
        in_channels=16, feat_channels=16, num_classes=3, norm_cfg=dict(type="BN")
    )
    return config


def make(tiny, name):
    found = {"atss": atss, "gfl": gfl, "rtmdet": rtmdet}
    return found[name](tiny) if name in found else getattr(tiny, name)()


def response(loss, layers="bbox_head[0]", **options):
    return dict(loss=dict(type=f"kd_core.losses.{loss}", **options), layers=layers)


BOTH = dict(scores="bbox_head[0]", boxes="bbox_head[1]")
TERMS = {
    "retinanet": dict(
        classes=response("ClassResponseLoss", anchors=9),
        boxes=response("BoxResponseLoss", BOTH),
        inside=response("ClassResponseLoss", "bbox_head.retina_cls", anchors=9),
    ),
    "fcos": dict(
        classes=response("ClassResponseLoss"),
        boxes=response("BoxResponseLoss", BOTH, form="distance"),
        centers=response("ClassResponseLoss", "bbox_head[2]", form="binary"),
    ),
    "atss": dict(
        classes=response("ClassResponseLoss"),
        boxes=response("BoxResponseLoss", BOTH, stds=[0.1, 0.1, 0.2, 0.2]),
    ),
    "gfl": dict(
        classes=response("ClassResponseLoss"),
        boxes=response("DistributionResponseLoss", BOTH),
        region=response("LocalizationRegionLoss", BOTH),
    ),
    "rtmdet": dict(
        classes=response("ClassResponseLoss"),
        boxes=response("BoxResponseLoss", BOTH, form="distance"),
    ),
    "yolox": dict(
        classes=response("ClassResponseLoss"),
        boxes=response("BoxResponseLoss", dict(scores="bbox_head[2]", boxes="bbox_head[1]")),
        objects=response("ClassResponseLoss", "bbox_head[2]", form="binary"),
    ),
    "faster_rcnn": dict(
        objects=response("ClassResponseLoss", "rpn_head[0]", form="binary", anchors=3),
        boxes=response("BoxResponseLoss", dict(scores="rpn_head[0]", boxes="rpn_head[1]")),
    ),
}


@pytest.mark.parametrize("name", TERMS)
def test_responses_of_each_head(tiny, name):
    config, terms = make(tiny, name), TERMS[name]
    model = tiny.build(tiny.distilled(config, config, terms))
    rows = model.distiller.shape_table.rows
    assert all(row.student_shape == row.teacher_shape for row in rows)
    assert len({row.level for row in rows if row.term in ("classes", "objects")}) in (3, 5)
    losses = tiny.losses(model)
    assert all(torch.isfinite(losses[f"loss_{term}"]) for term in terms)
    assert all(losses[f"loss_{term}"] > 0 for term in terms)
    sum(losses[f"loss_{term}"] for term in terms).backward()
    assert all(
        parameter.grad is not None and torch.isfinite(parameter.grad).all()
        for parameter in model.backbone.parameters()
    )


def test_class_scores_are_those_of_both_heads(tiny):
    config = tiny.retinanet()
    model = tiny.build(tiny.distilled(config, config, TERMS["retinanet"]))
    teacher, seen = model.distiller.teacher.model, {}
    for side, one in (("student", model), ("teacher", teacher)):
        one.bbox_head.register_forward_hook(
            lambda _, __, output, side=side: seen.setdefault(side, output)
        )
    losses = tiny.losses(model)
    by_hand = ClassResponseLoss(anchors=9)(seen["student"][0], seen["teacher"][0])
    torch.testing.assert_close(losses["loss_classes"], by_hand)
    torch.testing.assert_close(losses["loss_inside"], by_hand)


def test_anchors_of_the_region_are_those_of_mmdets_head(tiny):
    generator = tiny.build(gfl(tiny)).bbox_head.prior_generator
    sizes = [(8, 10), (4, 5), (2, 3), (1, 2), (1, 1)]
    found = square_anchors(sizes, (8, 16, 32, 64, 128), 8.0, torch.device("cpu"))
    assert all(map(torch.equal, found, generator.grid_priors(sizes, device="cpu")))


def test_a_head_that_is_read_inside_runs_in_the_dry_run(tiny):
    loss = dict(type="kd_core.losses.AttentionTransferLoss")
    terms = dict(at=dict(loss=loss, layers="bbox_head.cls_convs.0"))
    config = tiny.fcos()
    model = tiny.build(tiny.distilled(config, config, terms))
    assert len(model.distiller.shape_table.rows) == 5
    assert tiny.losses(model)["loss_at"] > 0


def _more_scales(head):
    head["anchor_generator"]["scales_per_octave"] = 2


def _larger(head):
    head["anchor_generator"]["octave_base_scale"] = 8


def _coded(head):
    head["bbox_coder"]["target_stds"] = [0.1, 0.1, 0.2, 0.2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_more_scales, "'classes' compares bbox_head\\[0\\], so anchors of both heads must"),
        (_larger, "'classes' compares bbox_head\\[0\\], so anchors of both heads must"),
        (_coded, "'boxes' compares bbox_head\\[1\\], so the box coder of both heads must"),
    ],
)
def test_heads_that_mean_something_else_are_refused(tiny, change, message):
    teacher = tiny.retinanet()
    change(teacher["bbox_head"])
    with pytest.raises(ValueError, match=message):
        tiny.build(tiny.distilled(tiny.retinanet(), teacher, TERMS["retinanet"]))


def test_boxes_in_other_units_are_refused(tiny):
    config = tiny.fcos()
    config["bbox_head"]["norm_on_bbox"] = True
    with pytest.raises(ValueError, match="norm_on_bbox gives in strides.*bbox_head.scales.0"):
        tiny.build(tiny.distilled(config, config, TERMS["fcos"]))
    scales = [f"bbox_head.scales.{level}" for level in range(5)]
    layers = dict(scores="bbox_head[0]", boxes=scales)
    terms = dict(boxes=response("BoxResponseLoss", layers, form="distance"))
    assert tiny.losses(tiny.build(tiny.distilled(config, config, terms)))["loss_boxes"] > 0


def test_box_offsets_of_regions_need_one_coder(tiny):
    teacher = tiny.faster_rcnn()
    teacher["roi_head"]["bbox_head"]["bbox_coder"]["target_stds"] = [1.0] * 4
    loss = dict(type="kd_core.losses.FeatureImitationLoss")
    terms = dict(boxes=dict(loss=loss, layers="roi_head.bbox_head[1]"))
    with pytest.raises(ValueError, match="so the box coder of both heads must be the same"):
        tiny.build(tiny.distilled(tiny.faster_rcnn(), teacher, terms))


def cross(branch, features, predict, inner):
    names = dict(cls="scores", reg="boxes")
    boxes = dict(boxes="bbox_head[1]") if branch == "reg" else {}
    through = [f"bbox_head.{branch}_convs.2.activate", f"bbox_head.{branch}_convs.3", *predict]
    return dict(
        loss=dict(type="kd_core.cross_head.CrossHeadLoss", loss=inner, through=through,
                  predicts=names[branch]),
        layers=dict(features=f"bbox_head.{branch}_convs.2.{features}", scores="bbox_head[0]",
                    **boxes),
    )  # fmt: skip


CROSS = {
    "retinanet": dict(
        classes=cross("cls", "conv", ["bbox_head.retina_cls"],
                      dict(type="kd_core.losses.ClassResponseLoss", anchors=9)),
        boxes=cross("reg", "conv", ["bbox_head.retina_reg"],
                    dict(type="kd_core.losses.BoxResponseLoss")),
    ),
    "gfl": dict(
        classes=cross("cls", "gn", ["bbox_head.gfl_cls"],
                      dict(type="kd_core.losses.ClassResponseLoss")),
        boxes=cross("reg", "gn", ["bbox_head.gfl_reg", "bbox_head.scales.{level}"],
                    dict(type="kd_core.losses.DistributionResponseLoss", temperature=1.0)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CROSS)
def test_features_of_the_student_go_through_the_teachers_head(tiny, name):
    config = make(tiny, name)
    model = tiny.build(tiny.distilled(config, config, CROSS[name]))
    twin = copy.deepcopy(model)
    twin.distiller.detach()
    losses, plain = tiny.losses(model), tiny.losses(twin)
    for key, value in plain.items():  # an activation that is no longer in place changes nothing
        assert (
            all(map(torch.equal, losses[key], value))
            if isinstance(value, list)
            else (torch.equal(losses[key], value))
        )
    (losses["loss_classes"] + losses["loss_boxes"]).backward()
    head = model.bbox_head
    for convs in (head.cls_convs, head.reg_convs):
        assert convs[2].conv.weight.grad.abs().sum() > 0
        assert convs[3].conv.weight.grad is None
    teacher = model.distiller.teacher.model
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert model.state_dict().keys() - twin.state_dict().keys() == {"distiller.iteration"}


@pytest.mark.parametrize(
    ("name", "weights"),
    [("retinanet", "bbox_head.loss_cls.input[2]"), ("gfl", "bbox_head.loss_cls.input[weight]")],
)
def test_label_weights_and_positives_of_the_students_own_loss(tiny, name, weights):
    """Against the loss by hand, of what the head's own loss was called with, level by level."""
    config, term = make(tiny, name), dict(TERMS[name]["classes"])
    term["inputs"] = dict(label_weights=weights, average="bbox_head.loss_cls.input[avg_factor]")
    model = tiny.build(tiny.distilled(config, config, dict(classes=term)))
    seen, calls = {}, []
    for side, one in (("student", model), ("teacher", model.distiller.teacher.model)):
        one.bbox_head.register_forward_hook(
            lambda _, __, output, side=side: seen.setdefault(side, output)
        )
    model.bbox_head.loss_cls.register_forward_hook(
        lambda _, args, kwargs, __: calls.append({**dict(enumerate(args)), **kwargs}),
        with_kwargs=True,
    )
    losses = tiny.losses(model)
    of_levels = torch.cat([one[2] if 2 in one else one["weight"] for one in calls])
    loss = ClassResponseLoss(anchors=9 if name == "retinanet" else 1)
    average = float(calls[0]["avg_factor"])
    by_hand = loss(seen["student"][0], seen["teacher"][0], weights=of_levels, average=average)
    torch.testing.assert_close(losses["loss_classes"], by_hand)
    assert average >= 1 and len(calls) == 5
