"""Backbones alone, of any library and image size, as teachers of a detector."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from torchvision.models import swin_t, vit_b_16

import kd_det
from kd_core.tokens import prefix_of
from kd_det.backbones import PyramidBackbone
from kd_engine.data.rescale import Rescale
from kd_engine.evaluate import referred_model

VIT = dict(img_size=56, patch_size=14, embed_dim=16, depth=2, num_heads=2, reg_tokens=2)
SWIN = dict(img_size=64, window_size=4, embed_dim=16, depths=(1, 1), num_heads=(2, 2))


def timm_backbone(name, nodes, **options):
    return dict(type="kd_det.TimmBackbone", name=name, nodes=nodes, options=options)


def teacher_of(backbone, **options):
    more = {key: options.pop(key) for key in ("scale", "precision") if key in options}
    config = dict(type="kd_det.BackboneTeacher", backbone=backbone, **options)
    return dict(config=config, checkpoint=None, **more)


def distilled(tiny, teacher, layers="neck[2]", **term):
    loss = dict(type="kd_core.losses.FeatureImitationLoss")
    terms = dict(cosine=dict(loss=loss, layers=layers, normalize="unit", **term))
    config = tiny.distilled(terms=terms)
    return tiny.build({**config, "teacher": teacher})


def test_a_vision_transformer_at_its_own_size(tiny):
    backbone = timm_backbone("vit_tiny_patch16_224", ["blocks.1"], **VIT)
    statistics = dict(mean=[127.5] * 3, std=[127.5] * 3)
    teacher = teacher_of(backbone, scale=(56, 56), **statistics)
    model = distilled(tiny, teacher, teacher_layers="backbone[0]", connector="1x1")
    (row,) = model.distiller.shape_table.rows
    assert row.teacher_shape == (2, 16, 4, 4) and row.connector == "1x1"
    batch = tiny.batch(model.train())
    losses = model(**copy.deepcopy(batch), mode="loss")
    losses["loss_cosine"].backward()
    assert losses["loss_cosine"] > 0 and model.backbone.conv1.weight.grad.any()
    seen = []
    frozen = model.distiller.teacher.model
    frozen.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(**copy.deepcopy(batch), mode="loss")
    own = model.data_preprocessor
    pixels = batch["inputs"] * own.std + own.mean  # RGB, as the teacher's
    sizes = [sample.img_shape for sample in batch["data_samples"]]
    expected = (pixels - 127.5) / 127.5
    for one, (height, width) in zip(expected, sizes, strict=True):
        one[:, height:] = 0
        one[:, :, width:] = 0
    expected = F.interpolate(expected, (56, 56), mode="bilinear", antialias=True)
    torch.testing.assert_close(seen[0], expected, rtol=1e-3, atol=1e-3)


def test_a_backbone_alone_is_a_short_form(tiny):
    backbone = timm_backbone("vit_tiny_patch16_224", ["blocks.1"], **VIT)
    short = dict(backbone=backbone, mean=[1.0] * 3, std=[2.0] * 3, scale=(56, 56))
    long = teacher_of(backbone, mean=[1.0] * 3, std=[2.0] * 3, scale=(56, 56))
    model, same = (distilled(tiny, one, teacher_layers="backbone[0]", connector="1x1")
                   for one in (short, long))  # fmt: skip
    frozen = model.distiller.teacher.model
    assert type(frozen) is kd_det.BackboneTeacher
    assert frozen.data_preprocessor.mean.flatten().tolist() == [1.0] * 3
    assert str(model.distiller.shape_table) == str(same.distiller.shape_table)
    config = tiny.distilled(terms={"a": model_term(teacher="vit")})
    config.pop("teacher")
    assert tiny.build({**config, "teachers": dict(vit=short)}).distiller.teachers


def model_term(**more):
    loss = dict(type="kd_core.losses.AttentionTransferLoss")
    return dict(loss=loss, layers="neck[2]", teacher_layers="backbone[0]", **more)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (dict(checkpoint="a.pth"), "teacher is a backbone alone, .*but it has checkpoint. Weights"),
        (dict(neck=dict(type="FPN"), config="a.py"), "but it has config, neck.*Leave out backbone"),
    ],
)
def test_what_a_backbone_alone_cannot_have_is_named(tiny, more, message):
    teacher = dict(backbone=timm_backbone("resnet18", ["layer1"]), **more)
    with pytest.raises(ValueError, match=message):
        distilled(tiny, teacher, teacher_layers="backbone[0]")


def test_a_backbone_alone_is_neither_tested_nor_inherited_from():
    with pytest.raises(ValueError, match="whole model with a config, but it has only backbone"):
        referred_model(dict(backbone=dict(type="ResNet")))


def test_a_swin_of_timm_gives_maps_with_channels_first(tiny):
    backbone = timm_backbone("swin_tiny_patch4_window7_224", ["layers.0", "layers.1"], **SWIN)
    model = distilled(tiny, teacher_of(backbone), "neck[0:2]", teacher_layers="backbone")
    rows = model.distiller.shape_table.rows
    assert [row.teacher_shape for row in rows] == [(2, 16, 16, 16), (2, 32, 8, 8)]
    assert tiny.losses(model)["loss_cosine"] > 0


def test_a_detector_can_see_smaller_images(tiny):
    config = tiny.distilled(
        terms=dict(
            pkd=dict(loss=dict(type="kd_core.losses.PearsonFeatureLoss"), layers="neck[1:4]")
        )
    )
    config["teacher"]["scale"] = 0.5
    model = tiny.build(config)
    rows = model.distiller.shape_table.rows
    assert [row.student_shape[2] for row in rows] == [4, 2] == [r.teacher_shape[2] for r in rows]
    assert tiny.losses(model)["loss_pkd"] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(scale=0), "scale must be a factor above 0, or height and width.*0"),
        (dict(scale=(64,)), r"scale must be a factor.*\(64,\)"),
        (dict(scale=(64, 128)), "proportions of scale, 64 x 128, but they are 64 x 64"),
        (dict(size=2), "may have .*scale, but it has .*size"),
    ],
)
def test_what_is_wrong_is_named(tiny, change, message):
    config = tiny.distilled()
    config["teacher"].update(change)
    with pytest.raises(ValueError, match=message):
        tiny.build(config)


def test_heads_need_the_students_size(tiny):
    loss = dict(type="kd_core.losses.AttentionTransferLoss")
    config = tiny.distilled(terms=dict(at=dict(loss=loss, layers="rpn_head[0]")))
    config["teacher"]["scale"] = 0.5
    with pytest.raises(ValueError, match=r"read at its backbone and neck.*rpn_head\[0\]"):
        tiny.build(config)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize("kind", ["vit", "swin"])
def test_backbones_give_the_maps_of_their_transformers(kind, library):
    """Against the network itself, tokens and axes by hand."""
    torch.manual_seed(0)
    images = torch.randn(1, 3, 64, 64) if kind == "swin" else torch.randn(1, 3, 56, 56)
    if library == "timm":
        name = {"vit": "vit_tiny_patch16_224", "swin": "swin_tiny_patch4_window7_224"}[kind]
        options, node = {"vit": (VIT, "blocks.1"), "swin": (SWIN, "layers.1")}[kind]
        built = kd_det.TimmBackbone(name, [node], options=options).eval()
        network = timm.create_model(name, **options).eval()
    else:
        images = torch.randn(1, 3, 224, 224)
        name, node = {"vit": ("vit_b_16", "encoder.ln"), "swin": ("swin_t", "features.3")}[kind]
        built = kd_det.TorchvisionBackbone(name, [node]).eval()
        network = {"vit": vit_b_16, "swin": swin_t}[kind]().eval()
    assert isinstance(built, PyramidBackbone)
    network.load_state_dict(built.body.state_dict(), strict=False)  # traced: constants of its own
    kept = []
    network.get_submodule(node).register_forward_hook(lambda *one: kept.append(one[-1]))
    with torch.no_grad():
        network(images)
        (found,) = built(images)
    (expected,) = kept
    if kind == "vit":
        expected = expected[:, prefix_of(network, node) :]
        side = int(expected.shape[1] ** 0.5)
        expected = expected.reshape(1, side, side, -1)
    torch.testing.assert_close(found, expected.permute(0, 3, 1, 2))


def test_rescale_keeps_what_has_the_size():
    images = torch.randn(1, 3, 8, 8)
    assert Rescale(1.0)(images) is images
