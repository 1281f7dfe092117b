import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import mobilenet_v2

from kd_cls.networks import MobileNetV2

# Expansion, channels, blocks, stride: the paper's, but the second group has stride 1.
SETTINGS = [[1, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1],
            [6, 160, 3, 2], [6, 320, 1, 1]]  # fmt: skip


def torchvisions():
    """Half the width, channels not rounded to multiples of 8, ReLU not cut at 6."""
    network = mobilenet_v2(inverted_residual_setting=SETTINGS, width_mult=0.5, round_nearest=1)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.ReLU6):
                setattr(module, name, nn.ReLU())
    return network


def test_computes_what_torchvision_computes_behind_the_first_block(computes_as):
    network, theirs = MobileNetV2(num_classes=7), torchvisions()
    stages = [*network.stage1[1:], network.stage2, network.stage3, network.stage4, network.last]
    computes_as(nn.Sequential(*stages), theirs.features[2:], torch.randn(2, 8, 16, 16))


def test_the_stem_is_torchvisions(computes_as):
    computes_as(MobileNetV2(7).stem, torchvisions().features[0], torch.randn(2, 3, 32, 32))


def test_the_first_block_by_hand():
    torch.manual_seed(0)
    block = MobileNetV2(num_classes=7).stage1[0].eval()
    first, _, _, depthwise, _, _, last, _ = block.residual
    features = torch.randn(2, 16, 8, 8)
    norm = (1 + block.residual[1].eps) ** -0.5  # norms have not moved yet
    out = (functional.conv2d(features, first.weight) * norm).relu()
    out = (functional.conv2d(out, depthwise.weight, padding=1, groups=16) * norm).relu()
    out = functional.conv2d(out, last.weight) * norm
    torch.testing.assert_close(block(features), out)
    assert out.shape == (2, 8, 8, 8) and out.min() < 0


def test_the_full_width_has_torchvisions_parameters():
    ours = sum(p.numel() for p in MobileNetV2(num_classes=1000, width=1.0).parameters())
    first_expansion = 32 * 32 + 2 * 32  # which torchvision leaves out
    assert ours - first_expansion == 3_504_872


@pytest.mark.parametrize("width", [0, 1.5])
def test_a_wrong_width(width):
    with pytest.raises(ValueError, match=f"width must be from 1/16 to 1, but it is {width}"):
        MobileNetV2(num_classes=10, width=width)
