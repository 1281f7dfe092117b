"""CIFAR networks: counts, names and shapes, gradients, determinism.

repdistiller.json holds parameter counts and feature shapes of
https://github.com/HobbitLong/RepDistiller at b84f547c5db6a35318d4671d7d5c4de74c822403.
"""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from kd_cls.networks import CIFAR_NETWORKS, CifarNetwork
from kd_core import Distiller, Term
from kd_core.layers import FeatureHooks, LayerPath
from kd_core.losses import AttentionTransferLoss, SoftTargetLoss

THEIRS = {
    "ResNet50": "resnet50",
    "MobileNetV2": "mobilenet_v2_half",
    "ShuffleV1": "shufflenet_v1",
    "ShuffleV2": "shufflenet_v2",
}
FILE = json.loads(Path(__file__).with_name("repdistiller.json").read_text())
RECORDED = {
    THEIRS.get(name, name): (model["parameters"], [tuple(shape) for shape in model["features"]])
    for name, model in FILE["models"].items()
}
_BASIC = [(64, 32, 32), (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512,)]
# torchvision publishes 11,689,512 and 21,797,672 parameters, with a stem of 7 x 7 pixels instead
# of 3 x 3 (40 * 3 * 64 more) and 1000 classes instead of 100 (900 * 513 more).
RECORDED["resnet18"] = (11_689_512 - 40 * 3 * 64 - 900 * 513, _BASIC)
RECORDED["resnet34"] = (21_797_672 - 40 * 3 * 64 - 900 * 513, _BASIC)
NAMES = sorted(CIFAR_NETWORKS)


def test_every_network_has_recorded_numbers():
    assert set(NAMES) == set(RECORDED)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_as_published(name):
    network = CifarNetwork(name, num_classes=100)
    assert sum(parameter.numel() for parameter in network.parameters()) == RECORDED[name][0]


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_named_alike_and_shaped_as_recorded(name):
    network = CifarNetwork(name, num_classes=10).eval()
    shapes = RECORDED[name][1]
    assert network.num_stages == len(shapes) - 2
    assert network.num_features == shapes[-1][0]
    stages = [f"stage{number}" for number in range(1, network.num_stages + 1)]
    children = ["stem", *stages, "last", "pool", "classifier"]
    assert [child for child, _ in network.named_children()] == children
    selectors = [LayerPath.parse(child) for child in children]
    hooks = FeatureHooks(network, selectors, "student")
    hooks.active = True
    logits = network(torch.randn(2, 3, 32, 32))
    stem, *features, last, pool, classifier = hooks.read(selectors)
    found = [tuple(feature.shape[1:]) for feature in [stem, *features, pool]]
    assert found == shapes
    assert classifier is logits and logits.shape == (2, 10)
    torch.testing.assert_close(pool, last.mean(dim=(2, 3)))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name):
    torch.manual_seed(0)
    network = CifarNetwork(name, num_classes=10)
    nn.functional.cross_entropy(network(torch.randn(4, 3, 32, 32)), torch.arange(4)).backward()
    followed_by_norm = {  # a norm takes the mean away, and with it the bias in front of it
        f"{path}.bias"
        for path, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.bias is not None
    }
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert key in followed_by_norm or parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_is_deterministic_and_image_by_image(name):
    torch.manual_seed(0)
    network = CifarNetwork(name, num_classes=10)
    images = torch.randn(4, 3, 32, 32)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # one batch in training gives the statistics
    with torch.no_grad():
        network(images)
        before = {key: value.clone() for key, value in network.eval().state_dict().items()}
        first, second, alone = network(images), network(images), network(images[1:2])
    assert torch.equal(first, second)
    torch.testing.assert_close(alone, first[1:2], rtol=1e-4, atol=1e-4 * first.abs().max().item())
    assert not torch.allclose(first[0], first[1])
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_small_and_oblong_images(name):
    network = CifarNetwork(name, num_classes=3).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 3, 8, 8)).shape == (1, 3)
        assert network(torch.randn(1, 3, 64, 40)).shape == (1, 3)


def test_the_same_seed_draws_the_same_network():
    torch.manual_seed(3)
    first = CifarNetwork("resnet8", num_classes=10).state_dict()
    torch.manual_seed(3)
    second = CifarNetwork("resnet8", num_classes=10).state_dict()
    other = CifarNetwork("resnet8", num_classes=10).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])


def test_one_selector_serves_two_families():
    student = CifarNetwork("shufflenet_v1", num_classes=10)
    terms = {
        "at": Term(AttentionTransferLoss(), layers=["stage1", "stage2", "stage3"],
                   teacher_layers=["stage2", "stage3", "stage4"]),
        "kd": Term(SoftTargetLoss(), layers="classifier"),
    }  # fmt: skip
    Distiller(CifarNetwork("vgg8", num_classes=10), terms).attach(student)
    student(torch.randn(2, 3, 32, 32))
    losses = student.distiller.losses()
    assert set(losses) >= {"loss_at", "loss_kd"}
    sum(losses[key] for key in ("loss_at", "loss_kd")).backward()
    assert student.stem[0].weight.grad.abs().max() > 0


def test_an_unknown_name_is_told_with_its_neighbors():
    with pytest.raises(ValueError, match="no CIFAR network 'wrn_40_4'.*wrn_40_2"):
        CifarNetwork("wrn_40_4", num_classes=10)
