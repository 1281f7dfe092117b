import pytest
import torch
from torch import nn
from torchvision.models import get_model

from kd_cls.networks import VGG


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_computes_what_torchvision_computes_without_the_last_two_poolings(depth, computes_as):
    layers = list(get_model(f"vgg{depth}_bn").features)
    poolings = [layer for layer in layers if isinstance(layer, nn.MaxPool2d)]
    kept = [layer for layer in layers if layer not in poolings[3:]]
    theirs = nn.Sequential(*kept, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 7))
    computes_as(VGG(depth, num_classes=7), theirs, torch.randn(2, 3, 16, 16))


def test_vgg8_is_one_convolution_for_each_stage():
    network = VGG(8, num_classes=7)
    widths = [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [64, 128, 256, 512, 512]
    for stage in (network.stage1, network.stage2, network.stage3):
        assert [type(layer) for layer in stage] == [
            nn.MaxPool2d, nn.Conv2d, nn.BatchNorm2d, nn.ReLU,
        ]  # fmt: skip
    assert [type(layer) for layer in network.stage4] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]


def test_a_wrong_depth():
    with pytest.raises(ValueError, match=r"depth must be one of \[8, 11, .*but it is 12"):
        VGG(12, num_classes=10)
