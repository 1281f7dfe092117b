import pytest
import torch
from torchvision.models import get_model

from kd_core.checkpoint.load import CheckpointError
from kd_det import TimmBackbone, TorchvisionBackbone

NODES = ["features.3", "features.6", "features.13", "features.17"]


def mobilenet(**options):
    return TorchvisionBackbone("mobilenet_v2", NODES, **options)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    torch.manual_seed(0)
    model = get_model("mobilenet_v2", weights=None)
    path = tmp_path_factory.mktemp("weights") / "mobilenet.pth"
    torch.save(model.state_dict(), path)
    return model.eval(), str(path)


def test_it_gives_the_maps_of_the_classifier_it_was_made_of(original):
    model, path = original
    images = torch.randn(2, 3, 64, 64)
    maps = mobilenet(checkpoint=path).eval()(images)
    assert [tuple(one.shape[1:]) for one in maps] == [
        (24, 16, 16), (32, 8, 8), (96, 4, 4), (320, 2, 2)
    ]  # fmt: skip
    step = images
    for number, layer in enumerate(model.features[:18]):
        step = layer(step)
        if f"features.{number}" in NODES:
            torch.testing.assert_close(maps[NODES.index(f"features.{number}")], step)


def test_keys_are_those_of_torchvision(original):
    keys = {key.removeprefix("body.") for key in mobilenet().state_dict()}
    assert keys < set(original[0].state_dict())


def test_weights_that_do_not_fit_are_refused(original, tmp_path):
    state = original[0].state_dict()
    del state["features.3.conv.0.0.weight"]
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(CheckpointError, match=r"features\.3\.conv\.0\.0\.weight"):
        mobilenet(checkpoint=str(tmp_path / "broken.pth"))


def test_init_weights_keeps_what_was_loaded(original):
    backbone = mobilenet(checkpoint=original[1])
    backbone.init_weights()
    loaded = backbone.state_dict()["body.features.3.conv.0.0.weight"]
    assert torch.equal(loaded, original[0].state_dict()["features.3.conv.0.0.weight"])


def test_frozen_stages_do_not_change_in_training():
    backbone = mobilenet(frozen=4).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    sum(one.square().mean() for one in backbone(torch.randn(2, 3, 64, 64))).backward()
    for name, parameter in backbone.named_parameters():
        stage = int(name.split(".")[2])
        assert (parameter.grad is None) == (stage < 4), name
    for name, value in backbone.state_dict().items():
        counted = "running_" in name or "num_batches" in name
        moved = counted and int(name.split(".")[2]) >= 4
        assert torch.equal(value, before[name]) != moved, name


def test_norm_eval_keeps_the_statistics():
    backbone = mobilenet(norm_eval=True).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    backbone(torch.randn(2, 3, 64, 64))
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert all(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize("frozen", [-1, 99])
def test_an_impossible_number_of_frozen_stages_is_refused(frozen):
    with pytest.raises(ValueError, match=f"frozen must be .* 18, but it is {frozen}"):
        mobilenet(frozen=frozen)


def test_networks_without_features_can_only_be_trained_whole():
    nodes = ["layer1", "layer4"]
    maps = TorchvisionBackbone("resnet18", nodes)(torch.randn(2, 3, 64, 64))
    assert [one.shape[1] for one in maps] == [64, 512]
    with pytest.raises(ValueError, match="resnet18 has no 'features'"):
        TorchvisionBackbone("resnet18", nodes, frozen=1)


BLOCKS = ["blocks.1", "blocks.2", "blocks.4", "blocks.6"]


@pytest.fixture(scope="module")
def lite(tmp_path_factory):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model("tf_efficientnet_lite0")
    path = tmp_path_factory.mktemp("weights") / "lite.pth"
    torch.save(model.state_dict(), path)
    return model.eval(), str(path)


def test_a_timm_backbone_gives_the_maps_of_its_classifier(lite):
    model, path = lite
    images = torch.randn(2, 3, 64, 96)
    maps = TimmBackbone("tf_efficientnet_lite0", BLOCKS, path).eval()(images)
    images = images.contiguous(memory_format=torch.channels_last)  # as the backbone does on a CPU
    wanted = model.forward_intermediates(images, indices=[1, 2, 3, 4], intermediates_only=True)
    assert [tuple(one.shape[1:]) for one in maps] == [
        (24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)
    ]  # fmt: skip
    for found, one in zip(maps, wanted, strict=True):
        torch.testing.assert_close(found, one)


def test_a_timm_backbone_has_timms_keys_and_takes_no_half_file(lite, tmp_path):
    state = dict(lite[0].state_dict())
    backbone = TimmBackbone("tf_efficientnet_lite0", BLOCKS)
    assert {key.removeprefix("body.") for key in backbone.state_dict()} < set(state)
    del state["blocks.3.0.conv_pw.weight"]
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(CheckpointError, match=r"blocks\.3\.0\.conv_pw\.weight"):
        TimmBackbone("tf_efficientnet_lite0", BLOCKS, str(tmp_path / "broken.pth"))


def test_frozen_parts_of_a_timm_backbone_do_not_change_in_training():
    frozen = ("conv_stem", "bn1", "blocks.0")
    backbone = TimmBackbone("tf_efficientnet_lite0", BLOCKS, frozen=frozen).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    sum(one.square().mean() for one in backbone(torch.randn(2, 3, 64, 64))).backward()
    parts = tuple(f"body.{one}." for one in frozen)
    for name, parameter in backbone.named_parameters():
        assert (parameter.grad is None) == name.startswith(parts), name
    for name, value in backbone.state_dict().items():
        counted = "running_" in name or "num_batches" in name
        moved = counted and not name.startswith(parts)
        assert torch.equal(value, before[name]) != moved, name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(nodes=["blocks.1", "block.2"]), r"nodes must .* no 'block\.2'.*blocks\.2"),
        (dict(nodes=BLOCKS, frozen=["stem"]), r"frozen must .* no 'stem'.*conv_stem"),
        (dict(nodes=BLOCKS, frozen=["conv_head"]), r"frozen .* up to blocks\.6.* no 'conv_head'"),
        (dict(nodes=BLOCKS, options=dict(depth=3)), "options=.*depth"),
        (dict(nodes=BLOCKS, name="tf_efficientnet_lite"), "timm has no model.*lite0"),
    ],
)
def test_a_timm_backbone_names_what_is_wrong(options, message):
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=message):
        TimmBackbone(**dict(dict(name="tf_efficientnet_lite0"), **options))
