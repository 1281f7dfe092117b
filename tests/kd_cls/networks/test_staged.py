import math

import pytest
import torch
from torch import nn

from kd_cls.networks import CifarNetwork, CifarResNet, StagedNetwork

DRAWN_BY_FAN_OUT = ["resnet32x4", "resnet50", "wrn_16_2", "vgg13", "mobilenet_v2_half"]
SMALL_CLASSIFIER = ["vgg8", "mobilenet_v2_half"]
DRAWN_BY_PYTORCH = ["shufflenet_v1", "shufflenet_v2"]


def convolutions(name):
    torch.manual_seed(0)
    network = CifarNetwork(name, num_classes=100)
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("name", DRAWN_BY_FAN_OUT)
def test_convolutions_start_by_fan_out(name):
    for module in convolutions(name):
        if module.weight.numel() >= 4000:  # the deviation is then within 6 % of its expectation
            outgoing = module.out_channels * math.prod(module.kernel_size)
            expected = math.sqrt(2 / outgoing)
            assert module.weight.std().item() == pytest.approx(expected, rel=0.06), module
        if module.bias is not None:
            assert not module.bias.any()


@pytest.mark.parametrize("name", DRAWN_BY_PYTORCH)
def test_shufflenets_start_as_pytorch_draws_them(name):
    for module in convolutions(name):
        incoming = module.weight[0].numel()
        assert module.weight.abs().max() <= 1 / math.sqrt(incoming)
        assert module.weight.abs().max() > 0.8 / math.sqrt(incoming)


@pytest.mark.parametrize("name", SMALL_CLASSIFIER)
def test_classifiers_that_start_small(name):
    torch.manual_seed(0)
    classifier = CifarNetwork(name, num_classes=100).classifier
    assert classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not classifier.bias.any()


@pytest.mark.parametrize(("name", "bias"), [("resnet20", True), ("wrn_16_1", False)])
def test_classifiers_that_start_as_pytorch_draws_them(name, bias):
    classifier = CifarNetwork(name, num_classes=100).classifier
    assert 0.9 / 8 < classifier.weight.abs().max() <= 1 / 8  # 64 features
    assert bool(classifier.bias.any()) is bias


def test_norms_start_as_identity():
    for module in CifarNetwork("resnet20", num_classes=10).modules():
        if isinstance(module, nn.BatchNorm2d):
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert not module.bias.any()


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 1, 32, 32), (2, 3, 7, 32), (2, 32, 32, 3)])
def test_images_of_another_shape_are_named(shape):
    network = CifarResNet(depth=8, num_classes=10)
    with pytest.raises(ValueError, match="images must be .N, 3, H, W.*they are") as error:
        network(torch.zeros(shape))
    assert str(tuple(shape)) in str(error.value)


@pytest.mark.parametrize("count", [1, 0])
def test_fewer_than_two_classes(count):
    with pytest.raises(ValueError, match=f"num_classes must be at least 2, but it is {count}"):
        CifarResNet(depth=8, num_classes=count)


def test_parts_run_in_their_order():
    parts = [nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1), nn.Conv2d(5, 6, 1), nn.Conv2d(6, 7, 1)]
    network = StagedNetwork(parts[0], parts[1:3], num_features=7, num_classes=2, last=parts[3])
    images = torch.randn(2, 3, 9, 8)
    expected = network.classifier(nn.Sequential(*parts)(images).mean(dim=(2, 3)))
    torch.testing.assert_close(network(images), expected)
