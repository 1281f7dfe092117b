import pytest
import timm
import torch
from mmengine.registry import MODELS
from torch import nn
from torchvision.models import get_model

import kd_cls
from kd_cls.networks import TimmNetwork, TorchvisionNetwork, libraries
from kd_core.checkpoint.load import CheckpointError

TINY = dict(channels=(4, 4, 8, 8))
FAMILIES = ["alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "maxvit_t",
            "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "resnet18",
            "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "vgg11", "vit_b_16"]  # fmt: skip
SMALL = "mobilenet_v3_small"


@pytest.fixture
def file(tmp_path):
    """Save a torchvision classifier of 9 classes, and give its file and weights."""
    torch.manual_seed(0)
    state = get_model(SMALL, num_classes=9).state_dict()
    state["classifier.3.bias"].normal_()  # which starts at 0
    torch.save(state, tmp_path / "whole.pth")
    return str(tmp_path / "whole.pth"), state


@pytest.fixture
def timm_file(tmp_path):
    """Save a timm classifier of 9 classes, and give its file and weights."""
    torch.manual_seed(0)
    state = timm.create_model("resnet18", num_classes=9, **TINY).state_dict()
    torch.save(state, tmp_path / "whole.pth")
    return str(tmp_path / "whole.pth"), state


def same(network, state, left_out=()):
    """Check that all weights but some are loaded, and that these are others."""
    for key, value in network.state_dict().items():
        if key.endswith(("num_batches_tracked", "running_mean", "running_var")):
            continue
        if key in left_out:
            assert value.shape != state[key].shape or not torch.equal(value, state[key]), key
        else:
            assert torch.equal(value, state[key]), key


@pytest.mark.parametrize("name", FAMILIES)
def test_the_head_of_a_torchvision_network_is_its_last_layer(name):
    computes = name.startswith(("maxvit", "regnet"))  # with tensors, while it is built
    with torch.device("cpu" if computes else "meta"):
        few, many = (TorchvisionNetwork(name, num_classes=n) for n in (7, 11))
    assert (few.num_classes, many.num_classes) == (7, 11)
    shapes = {key: value.shape for key, value in many.state_dict().items()}
    differ = {key for key, value in few.state_dict().items() if value.shape != shapes[key]}
    head = f"{libraries._last_layer(few)}."
    assert differ and differ == {key for key in shapes if key.startswith(head)}


def test_both_give_logits_and_are_built_from_configs():
    images = torch.randn(2, 3, 64, 64)
    theirs = MODELS.build(dict(type="kd_cls.TorchvisionNetwork", name=SMALL, num_classes=7))
    assert theirs(images).shape == (2, 7)
    timms = dict(type="kd_cls.TimmNetwork", name="resnet18", num_classes=7, options=TINY)
    network = MODELS.build(timms)
    assert network(images).shape == (2, 7) and network.num_classes == 7
    ours = MODELS.build(dict(type="kd_cls.CifarNetwork", name="resnet8", num_classes=7))
    assert ours(images).shape == (2, 7) and ours.num_classes == 7
    assert MODELS.build(dict(type="kd_cls.networks.VGG", depth=8, num_classes=7)).num_classes == 7
    assert set(kd_cls.__all__) >= {"CifarNetwork", "TimmNetwork", "TorchvisionNetwork"}


def test_a_checkpoint_fits_whole_or_not_at_all(file):
    path, state = file
    same(TorchvisionNetwork(SMALL, 9, checkpoint=path), state)
    with pytest.raises(CheckpointError, match=r"classifier\.3\.weight(.|\n)*new_head=True"):
        TorchvisionNetwork(SMALL, 5, checkpoint=path)
    torch.save({k: v for k, v in state.items() if not k.startswith("features.3.")}, path)
    with pytest.raises(CheckpointError, match="features.3"):
        TorchvisionNetwork(SMALL, 5, checkpoint=path, new_head=True)


@pytest.mark.parametrize("classes", [5, 9])
def test_a_new_head_leaves_the_last_layer_alone_out(file, classes):
    path, state = file
    network = TorchvisionNetwork(SMALL, classes, checkpoint=path, new_head=True)
    same(network, state, left_out=("classifier.3.weight", "classifier.3.bias"))
    assert network.classifier[3].out_features == classes


def test_published_weights_of_torchvision(file, monkeypatch):
    path, state = file
    asked = []
    monkeypatch.setattr(libraries, "torchvision_weights", lambda *one: asked.append(one) or path)
    same(TorchvisionNetwork(SMALL, 9, weights="DEFAULT"), state)
    with pytest.raises(CheckpointError, match="new_head=True"):
        TorchvisionNetwork(SMALL, 5, weights="DEFAULT")
    assert asked == [(SMALL, "DEFAULT")] * 2


def test_a_timm_checkpoint_fits_whole_or_not_at_all(timm_file):
    path, state = timm_file
    same(TimmNetwork("resnet18", 9, checkpoint=path, options=TINY), state)
    with pytest.raises(CheckpointError, match=r"fc\.weight(.|\n)*new_head=True"):
        TimmNetwork("resnet18", 5, checkpoint=path, options=TINY)
    for classes in (5, 9):
        network = TimmNetwork("resnet18", classes, path, new_head=True, options=TINY)
        same(network, state, left_out=("fc.weight", "fc.bias"))
        assert network.fc.out_features == network.num_classes == classes


def test_published_weights_of_timm(timm_file):
    path, state = timm_file
    options = dict(TINY, pretrained_cfg_overlay=dict(file=path, num_classes=9))
    same(TimmNetwork("resnet18", 9, pretrained=True, options=options), state)
    with pytest.raises(ValueError, match="have 9 classes, but num_classes is 5. new_head=True"):
        TimmNetwork("resnet18", 5, pretrained=True, options=options)
    for classes in (5, 9):
        network = TimmNetwork("resnet18", classes, pretrained=True, new_head=True, options=options)
        same(network, state, left_out=("fc.weight", "fc.bias"))
        assert network.fc.out_features == network.num_classes == classes


def test_both_heads_of_a_distilled_transformer_are_left_out(tmp_path):
    options = dict(img_size=32, depth=1, embed_dim=24, num_heads=2)
    whole = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=9, **options)
    path = str(tmp_path / "whole.pth")
    torch.save(whole.state_dict(), path)
    network = TimmNetwork("deit_tiny_distilled_patch16_224", 5, path, new_head=True,
                          options=options)  # fmt: skip
    heads = ("head.weight", "head.bias", "head_dist.weight", "head_dist.bias")
    assert torch.equal(network.blocks[0].attn.qkv.weight, whole.blocks[0].attn.qkv.weight)
    assert all(network.state_dict()[key].shape[0] == 5 for key in heads)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: TorchvisionNetwork("resnet19", 5), "no classifier 'resnet19'.*resnet18"),
        (lambda: TorchvisionNetwork("maskrcnn_resnet50_fpn", 5), "no classifier 'maskrcnn_resn"),
        (lambda: TimmNetwork("resnet19", 5), "no model 'resnet19'.*resnet18"),
        (lambda: TorchvisionNetwork("resnet18", 5, "a.pth", "DEFAULT"), "one set of weights"),
        (lambda: TimmNetwork("resnet18", 5, "a.pth", True), "checkpoint='a.pth' and pretrained=T"),
        (lambda: TorchvisionNetwork("resnet18", 5, new_head=True), "none are loaded"),
        (lambda: TimmNetwork("resnet18", 5, new_head=True), "none are loaded"),
        (lambda: TorchvisionNetwork("resnet18", 5, options=dict(num_classes=6)), "num_classes"),
        (lambda: TimmNetwork("resnet18", 5, options=dict(chanels=3)), "chanels"),
        (lambda: TimmNetwork("resnet18", 5, options=dict(num_classes=6)), "num_classes"),
        (
            lambda: TorchvisionNetwork("googlenet", 5, options=dict(init_weights=False)),
            r"in training googlenet also returns.*aux_logits=False",
        ),
        (
            lambda: TorchvisionNetwork(
                "googlenet", 5, weights="DEFAULT", new_head=True,
                options=dict(aux_logits=False, init_weights=False),
            ),
            "images of another scale.*transform_input=True",
        ),
        (lambda: TorchvisionNetwork("resnet18", 5, weights="BEST"), "no weights 'BEST' of resnet"),
    ],
)  # fmt: skip
def test_wrong_settings_are_told(build, match):
    with pytest.raises(ValueError, match=match):
        build()


def test_weights_with_auxiliary_classifiers_load_without_them(tmp_path):
    options = dict(aux_logits=False, init_weights=False)
    with torch.device("meta"):
        whole = get_model("googlenet", num_classes=5, init_weights=False)
    state = {
        key: torch.zeros_like(value, device="cpu") for key, value in whole.state_dict().items()
    }
    assert any(key.startswith("aux1.") for key in state)
    torch.save(state, tmp_path / "whole.pth")
    network = TorchvisionNetwork("googlenet", 5, str(tmp_path / "whole.pth"), options=options)
    assert not network.fc.weight.any() and not isinstance(network.aux1, nn.Module)
