import pytest
import torch
from torch import nn
from torchvision.models import get_model
from torchvision.models.resnet import BasicBlock as TheirBlock

from kd_cls.networks import CifarResNet, ResNet


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_computes_what_torchvision_computes_behind_the_stem(depth, computes_as):
    theirs = get_model(f"resnet{depth}", num_classes=7)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    computes_as(ResNet(depth, num_classes=7), theirs, torch.randn(2, 3, 16, 16))


def test_the_cifar_resnet_has_the_same_blocks(computes_as):
    shortcut = nn.Sequential(nn.Conv2d(16, 32, 1, 2, bias=False), nn.BatchNorm2d(32))
    theirs = nn.Sequential(TheirBlock(16, 32, 2, shortcut), TheirBlock(32, 32))
    ours = CifarResNet(depth=14, num_classes=7).stage2
    computes_as(ours, theirs, torch.randn(2, 16, 8, 8))


@pytest.mark.parametrize("depth", [2, 10, 18, -4])
def test_a_depth_that_is_not_6n_plus_2(depth):
    with pytest.raises(ValueError, match=rf"depth must be 6n \+ 2.*but it is {depth}"):
        CifarResNet(depth, num_classes=10)


def test_other_wrong_settings():
    with pytest.raises(ValueError, match=r"depth must be one of \[18, 34, 50\], but it is 20"):
        ResNet(20, num_classes=10)
    with pytest.raises(ValueError, match=r"stem and three stages, but they are \(16, 32, 64\)"):
        CifarResNet(20, num_classes=10, widths=(16, 32, 64))
