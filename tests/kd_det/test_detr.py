"""DETR-like detectors: responses of the last decoder layer, and the encoder's memory."""

import copy
import functools

import pytest
import torch

from kd_core.losses import PearsonFeatureLoss, QueryResponseLoss
from kd_det.probe import dry_run
from kd_engine.config.file import read_config
from kd_engine.doctor.layer_table import layer_rows


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


def _of_levels(tiny, name):
    config = copy.deepcopy(_published(name))
    config["backbone"] = tiny.backbone() | dict(out_indices=[1, 2, 3])
    config["neck"].update(in_channels=[16, 32, 64], out_channels=32)
    config.update(num_queries=8, encoder=_small(config["encoder"]))
    config["decoder"] = _small(config["decoder"])
    config["positional_encoding"].update(num_feats=16)
    config["bbox_head"].update(num_classes=3, embed_dims=32)
    return config


def dino(tiny):
    config = _of_levels(tiny, "dino/dino-4scale_r50_8xb2-12e_coco.py")
    config["dn_cfg"]["group_cfg"].update(num_dn_queries=4)
    return config


def deformable(tiny):
    return _of_levels(tiny, "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py")


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


@pytest.mark.parametrize("layer", ["encoder", "encoder.layers.1"])
def test_the_encoders_memory_is_a_map(tiny, layer):
    loss = dict(type="kd_core.losses.FeatureImitationLoss")
    config = detr(tiny)
    terms = dict(memory=dict(loss=loss, layers=layer))
    model = tiny.build(tiny.distilled(config, config, terms))
    (row,) = model.distiller.shape_table.rows
    assert row.student_shape == (2, 32, 2, 2) and row.student_layout == "of tokens"
    assert tiny.losses(model)["loss_memory"] > 0


@pytest.mark.parametrize("make", [deformable, dino])
@pytest.mark.parametrize("layer", ["encoder", "encoder.layers.0"])
def test_the_memory_of_each_level_is_a_map(tiny, make, layer):
    """The map is what mmdet's own flattening of maps would have made of it."""
    loss = dict(type="kd_core.losses.PearsonFeatureLoss")
    config, seen = make(tiny), {}
    terms = dict(all=dict(loss=loss, layers=layer), one=dict(loss=loss, layers=f"{layer}[1]"))
    model = tiny.build(tiny.distilled(config, config, terms))
    rows = model.distiller.shape_table.rows
    assert [row.student_shape[2:] for row in rows] == [(8, 8), (4, 4), (2, 2), (1, 1), (4, 4)]
    for side, one in (("student", model), ("teacher", model.distiller.teacher.model)):
        one.get_submodule(layer).register_forward_hook(
            lambda _, __, output, side=side: seen.setdefault(side, output)
        )
    losses = tiny.losses(model)
    first, levels = 0, []
    for side in ((8, 8), (4, 4), (2, 2), (1, 1)):
        part = slice(first, first + side[0] * side[1])
        maps = [
            torch.stack([one[:, part, c].reshape(2, *side) for c in range(32)], dim=1)
            for one in (seen["student"], seen["teacher"])
        ]
        levels.append(PearsonFeatureLoss()(*maps))
        first = part.stop
    assert first == seen["student"].shape[1]
    torch.testing.assert_close(losses["loss_all"], sum(levels))
    torch.testing.assert_close(losses["loss_one"], levels[1])
    losses["loss_one"].backward()
    assert model.backbone.conv1.weight.grad.abs().sum() > 0


def test_levels_of_a_memory_are_paired_by_stride(tiny):
    """A student of three levels under a teacher of four; and under the levels of a neck."""
    loss = dict(type="kd_core.losses.FeatureImitationLoss")
    student = deformable(tiny)
    student["num_feature_levels"] = student["neck"]["num_outs"] = 3
    for part in ("encoder", "decoder"):
        layer = student[part]["layer_cfg"]
        layer["self_attn_cfg" if part == "encoder" else "cross_attn_cfg"]["num_levels"] = 3
    terms = dict(
        memory=dict(loss=loss, layers="encoder"),
        neck=dict(loss=loss, layers="encoder[0:2]", teacher_layers="neck[0:2]", mask="boxes"),
    )
    model = tiny.build(tiny.distilled(student, deformable(tiny), terms))
    rows = model.distiller.shape_table.rows
    assert [row.student_shape for row in rows] == [row.teacher_shape for row in rows]
    assert len(rows) == 5 and "#3 (2, 32, 1, 1) left out" in str(model.distiller.shape_table)
    losses = tiny.losses(model)
    assert losses["loss_memory"] > 0 and losses["loss_neck"] > 0


def test_a_decoders_queries_stay_queries(tiny):
    """Also where they are as many as the places of all levels."""
    config = deformable(tiny)
    config["num_queries"] = 85  # 64 + 16 + 4 + 1
    loss = dict(type="kd_core.losses.FeatureImitationLoss")
    terms = dict(queries=dict(loss=loss, layers="decoder.layers.0"))
    with pytest.raises(ValueError, match=r"feature map.*\(2, 85, 32\)"):
        tiny.build(tiny.distilled(config, config, terms))


def test_the_table_of_layers_shows_each_level_of_a_memory(tiny):
    rows = layer_rows(tiny.build(deformable(tiny)), lambda model: dry_run(model, (64, 64)))
    (encoder,) = (row for row in rows if row.path == "encoder")
    sides = (8, 4, 2, 1)
    assert encoder.outputs == {
        f"encoder[{level}]": [(2, 32, side, side)] for level, side in enumerate(sides)
    }
