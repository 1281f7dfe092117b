"""Tokens of vision transformers are compared as maps, without the class token."""

import pytest
import timm
import torch
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer

from kd_core import Distiller, Term
from kd_core.losses import AttentionTransferLoss, FeatureImitationLoss, HMATLoss
from kd_core.tokens import TokenGrid, grid_of, prefix_of

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def timm_vit(**options):
    settings = {"img_size": 64, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 5}
    return timm.create_model("vit_tiny_patch16_224", **settings | options)


def torchvision_vit():
    return VisionTransformer(64, 16, 2, 2, 16, 32, num_classes=5)


class Net(nn.Module):
    """One convolution of stride 16."""

    def __init__(self, width=8):
        super().__init__()
        self.stage = nn.Conv2d(3, width, 16, 16)

    def forward(self, images):
        return self.stage(images).mean((2, 3))


def attach(student, teacher, layers, others, loss=None, images=IMAGES):
    terms = {"x": Term(loss or AttentionTransferLoss(), layers, others)}
    return Distiller(teacher, terms).attach(student, (images,))


def output_of(model, layer, images):
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *one: kept.append(one[-1]))
    model(images)
    handle.remove()
    return kept[0]


def patches(tokens, height, width, prefix=1):
    """Tokens of the patches as a map, one by one."""
    found = torch.empty(len(tokens), tokens.shape[2], height, width)
    for row in range(height):
        for column in range(width):
            found[:, :, row, column] = tokens[:, prefix + row * width + column]
    return found


@pytest.mark.parametrize(
    "make, layer",
    [
        (timm_vit, "blocks.1"),
        (lambda: timm_vit(reg_tokens=4, class_token=True), "blocks.0"),
        (lambda: timm_vit(class_token=False, global_pool="avg"), "blocks.0"),
        (torchvision_vit, "encoder.layers.encoder_layer_1"),
        (torchvision_vit, "encoder"),
    ],
)
def test_of_a_teacher_are_the_map_of_its_patches(make, layer):
    torch.manual_seed(0)
    student, teacher = Net(), make().eval()
    attach(student, teacher, "stage", layer)
    (row,) = student.distiller.shape_table.rows
    assert row.teacher_shape == (2, 16, 4, 4) and row.teacher_layout == "of tokens"
    assert "2x16x4x4 of tokens" in str(student.distiller.shape_table)
    tokens = output_of(teacher, layer, IMAGES)
    grid = patches(tokens, 4, 4, prefix=tokens.shape[1] - 16)
    expected = AttentionTransferLoss()(student.stage(IMAGES), grid)
    student(IMAGES)
    assert student.distiller.losses()["loss_x"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_of_a_student_under_a_convolutional_teacher():
    student = timm_vit()
    attach(student, Net(6), "blocks.1", "stage", FeatureImitationLoss())
    (row,) = student.distiller.shape_table.rows
    assert row.student_layout == "of tokens" and row.connector == "1x1-norm"
    student(IMAGES)
    student.distiller.losses()["loss_x"].backward()
    assert student.patch_embed.proj.weight.grad.any()


def test_of_both_sides_and_for_roles():
    layers = dict(low="blocks.0", mid="blocks.0", high="blocks.1")
    student = attach(timm_vit(), timm_vit(embed_dim=24), layers, None, HMATLoss())
    student(IMAGES)
    assert all(one > 0 for one in student.distiller.losses().values())


def test_images_that_are_not_square_and_of_changing_size():
    torch.manual_seed(0)
    student, teacher = Net(), timm_vit(dynamic_img_size=True).eval()
    attach(student, teacher, "stage", "blocks.1", images=torch.randn(1, 3, 64, 64))
    for size in ((32, 128), (128, 32), (48, 80)):
        images = torch.randn(2, 3, *size)
        tokens = output_of(teacher, "blocks.1", images)
        height, width = size[0] // 16, size[1] // 16
        expected = AttentionTransferLoss()(student.stage(images), patches(tokens, height, width))
        student(images)
        found = student.distiller.losses()["loss_x"].item()
        assert found == pytest.approx(expected.item(), rel=1e-5)


def test_sequences_that_are_not_of_a_transformer_stay_as_they_are():
    class Queries(nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder = nn.Linear(3, 6)

        def forward(self, images):
            return self.decoder(images.flatten(2)[:, :, :16].transpose(1, 2))

    with pytest.raises(ValueError, match=r"must be a feature map.*\(2, 16, 6\)"):
        attach(Net(), Queries(), "stage", "decoder")


def test_tokens_that_are_no_grid_are_named():
    with pytest.raises(ValueError, match=r"teacher must be .*\(2, 5, 16\)\. Transformers give"):
        attach(Net(), Odd(timm_vit()), "stage", "patch_embed")
    with pytest.raises(ValueError, match=r"must be 1 and those of a grid.*\(2, 12, 4\)"):
        TokenGrid(1).to_map(torch.randn(2, 12, 4), (64, 64))


class Odd(nn.Module):
    """A transformer's patches, most of which are dropped."""

    def __init__(self, vit):
        super().__init__()
        self.patch_embed = nn.Sequential(vit.patch_embed, Drop())

    def forward(self, images):
        return self.patch_embed(images)


class Drop(nn.Module):
    def forward(self, tokens):
        return tokens[:, :5]


@pytest.mark.parametrize(
    "count, size, expected",
    [
        (196, (224, 224), (14, 14)),
        (197, (224, 224), None),
        (100, (224, 224), (10, 10)),
        (50 * 84, (800, 1344), (50, 84)),
        (8, (32, 64), (2, 4)),
        (12, (48, 64), (3, 4)),
        (7, (64, 64), None),
    ],
)
def test_grid(count, size, expected):
    assert grid_of(count, size) == expected


def test_prefix():
    assert prefix_of(timm_vit(reg_tokens=4), "blocks.0.mlp") == 5
    assert prefix_of(torchvision_vit(), "encoder.layers") == 1
    assert prefix_of(Net(), "stage") is None
    wrapped = nn.Sequential()
    wrapped.trunk = timm_vit()
    assert prefix_of(wrapped, "trunk") == 1 and prefix_of(wrapped, "output") is None
