"""Image size that a network requires."""

import pytest
import timm
from torch import nn
from torchvision.models import VisionTransformer

from kd_engine.networks import wanted_image_size


def test_convolutions_take_any():
    assert wanted_image_size(nn.Conv2d(3, 4, 3)) is None
    assert wanted_image_size(timm.create_model("resnet18")) is None


def test_torchvisions_transformer_has_a_size():
    small = VisionTransformer(96, 32, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8)
    assert wanted_image_size(small) == (96, 96)


@pytest.mark.parametrize(
    ("options", "size"), [({}, (224, 224)), (dict(img_size=(96, 64)), (96, 64))]
)
def test_timms_transformer_has_a_size(options, size):
    model = timm.create_model("vit_tiny_patch16_224", depth=1, **options)
    assert wanted_image_size(model) == size


def test_an_own_attribute_counts():
    module = nn.Identity()
    module.image_size = (40, 48)
    assert wanted_image_size(module) == (40, 48)
