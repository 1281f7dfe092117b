"""DETR-like detectors: responses of the last decoder layer, and the encoder's memory."""

import copy
import functools

import pytest
import torch

from kd_core.losses import QueryResponseLoss
from kd_engine.config.file import read_config


@functools.cache
def _published(name):
    return read_config(f"mmdet::{name}").model.to_dict()


def _small(part, width=32):
    """Two layers of a quarter of a transformer's width."""
    part["num_layers"] = 2
    layer = part["layer_cfg"]
    for name in ("self_attn_cfg", "cross_attn_cfg"):
        if name in layer:
            layer[name].update(embed_dims=width)
            if "num_heads" in layer[name]:
                layer[name].update(num_heads=4)
    layer["ffn_cfg"].update(embed_dims=width, feedforward_channels=32)
    return part


def detr(tiny):
    config = copy.deepcopy(_published("detr/detr_r50_8xb2-150e_coco.py"))
    config["backbone"] = tiny.backbone() | dict(out_indices=[3])
    config["neck"].update(in_channels=[64], out_channels=32)
    config.update(num_queries=8, encoder=_small(config["encoder"]))
    config["decoder"] = _small(config["decoder"])
    config["positional_encoding"].update(num_feats=16)
    config["bbox_head"].update(num_classes=3, embed_dims=32)
    return config


def dino(tiny):
    config = copy.deepcopy(_published("dino/dino-4scale_r50_8xb2-12e_coco.py"))
    config["backbone"] = tiny.backbone() | dict(out_indices=[1, 2, 3])
    config["neck"].update(in_channels=[16, 32, 64], out_channels=32)
    config.update(num_queries=8, encoder=_small(config["encoder"]))
    config["decoder"] = _small(config["decoder"])
    config["positional_encoding"].update(num_feats=16)
    config["bbox_head"].update(num_classes=3, embed_dims=32)
    config["dn_cfg"]["group_cfg"].update(num_dn_queries=4)
    return config


BOTH = dict(scores="bbox_head[0]", boxes="bbox_head[1]")


def queries(**options):
    return dict(
        queries=dict(loss=dict(type="kd_core.losses.QueryResponseLoss", **options), layers=BOTH)
    )


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (detr, dict(form="softmax")),
        (detr, dict(form="softmax", match="query")),
        (dino, dict()),
    ],
)
def test_the_last_decoder_layers_queries(tiny, make, options):
    config = make(tiny)
    model = tiny.build(tiny.distilled(config, config, queries(**options)))
    seen = {}
    for side, one in (("student", model), ("teacher", model.distiller.teacher.model)):
        one.bbox_head.register_forward_hook(
            lambda _, __, output, side=side: seen.setdefault(side, output)
        )
    losses = tiny.losses(model)
    student, teacher = (dict(zip(BOTH, seen[side], strict=True)) for side in ("student", "teacher"))
    assert teacher["scores"].shape[2] == 8  # a DINO in training has more, for denoising
    assert (student["scores"].shape[2] > 8) == (make is dino)
    for name, value in QueryResponseLoss(**options)(student, teacher).items():
        torch.testing.assert_close(losses[f"loss_queries_{name}"], value)
        assert value > 0
    sum(value for name, value in losses.items() if "queries" in name).backward()
    assert model.backbone.conv1.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.distiller.teacher.model.parameters())


def test_a_student_of_fewer_queries_learns_with_its_own_alone(tiny):
    config = dino(tiny)
    config["num_queries"] = 5
    model = tiny.build(tiny.distilled(config, dino(tiny), queries()))
    loss, seen = model.distiller.terms["queries"].loss, []
    original = loss._matched
    loss._matched = lambda own, *others: (
        seen.append(own["scores"].shape[1]) or original(own, *others)
    )
    assert tiny.losses(model)["loss_queries_box"] > 0
    assert seen == [5] and loss.queries == 5
    with pytest.raises(ValueError, match="student has 5 and teacher has 8"):
        tiny.build(tiny.distilled(config, dino(tiny), queries(match="query")))


def test_the_encoders_memory_is_a_map(tiny):
    loss = dict(type="kd_core.losses.FeatureImitationLoss")
    config = detr(tiny)
    terms = dict(memory=dict(loss=loss, layers="encoder"))
    model = tiny.build(tiny.distilled(config, config, terms))
    (row,) = model.distiller.shape_table.rows
    assert row.student_shape == (2, 32, 2, 2) and row.student_layout == "of tokens"
    assert tiny.losses(model)["loss_memory"] > 0


def test_the_memory_of_several_levels_is_none(tiny):
    loss = dict(type="kd_core.losses.FeatureImitationLoss")
    config = dino(tiny)
    with pytest.raises(ValueError, match="must be a feature map"):
        tiny.build(tiny.distilled(config, config, dict(m=dict(loss=loss, layers="encoder"))))
