import pytest
import torch
from torch import nn
from torchvision.models import get_model

from kd_core.checkpoint.load import CheckpointError
from kd_retrieval.trunks import TimmTrunk, TorchvisionTrunk, image_size_of

SMALL = dict(channels=(4, 4, 8, 8))


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("resnet18", 512),
        ("mobilenet_v2", 1280),
        ("mobilenet_v3_small", 576),
        ("densenet121", 1024),
        ("efficientnet_b0", 1280),
        ("shufflenet_v2_x0_5", 1024),
    ],
)
def test_convolutional_trunks_of_torchvision(name, features):
    trunk = TorchvisionTrunk(name)
    assert trunk.num_features == features
    assert trunk.training
    with torch.no_grad():
        assert trunk.eval()(torch.zeros(1, 3, 64, 64)).shape[:2] == (1, features)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121"])
def test_a_trunk_computes_what_the_classifier_computes(name):
    torch.manual_seed(0)
    whole = get_model(name).eval()
    trunk = TorchvisionTrunk(name).eval()
    state = whole.state_dict()
    trunk.load_state_dict({key: state[key] for key in trunk.state_dict()})
    images = torch.randn(2, 3, 64, 64)
    head = getattr(whole, "classifier", None) or whole.fc
    with torch.no_grad():
        assert torch.allclose(head(trunk(images).mean(dim=(2, 3))), whole(images), atol=1e-5)


def test_a_vision_transformer_gives_tokens():
    options = dict(image_size=32)
    torch.manual_seed(0)
    trunk = TorchvisionTrunk("vit_b_16", options=options).eval()
    whole = get_model("vit_b_16", **options).eval()
    missing = whole.load_state_dict(trunk.state_dict(), strict=False)
    assert all(key.startswith("heads.") for key in missing.missing_keys)
    assert not missing.unexpected_keys
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        tokens = trunk(images)
        assert tokens.shape == (1, 5, 768)
        assert torch.allclose(whole.heads(tokens[:, 0]), whole(images), atol=1e-5)
    with pytest.raises(ValueError, match="images of 32 x 32, but they are 48 x 32"):
        trunk(torch.zeros(1, 3, 48, 32))


def test_timm_trunks():
    trunk = TimmTrunk("resnet18", options=SMALL)
    assert trunk.num_features == 8
    assert trunk(torch.zeros(2, 3, 64, 64)).shape == (2, 8, 2, 2)
    tokens = TimmTrunk("vit_tiny_patch16_224", options=dict(img_size=32, depth=1))
    assert tokens(torch.zeros(1, 3, 32, 32)).shape == (1, 5, 192)


@pytest.mark.parametrize("kind", ["torchvision", "timm"])
def test_a_classifiers_checkpoint_loads_without_its_head(tmp_path, kind):
    if kind == "torchvision":
        whole, build = get_model("resnet18"), lambda file: TorchvisionTrunk("resnet18", file)
    else:
        import timm

        whole = timm.create_model("resnet18", num_classes=7, **SMALL)
        build = lambda file: TimmTrunk("resnet18", file, options=SMALL)  # noqa: E731
    file = str(tmp_path / "whole.pth")
    torch.save(whole.state_dict(), file)
    assert torch.equal(build(file).layer4[0].conv1.weight, whole.layer4[0].conv1.weight)
    torch.save({"layer1.0.conv1.weight": torch.zeros(3)}, file)
    with pytest.raises(CheckpointError):
        build(file)


def test_a_map_with_the_channels_last_is_turned():
    options = dict(img_size=32, window_size=2, depths=(1, 1, 1, 1), embed_dim=8,
                   num_heads=(1, 1, 2, 2))  # fmt: skip
    trunk = TimmTrunk("swin_tiny_patch4_window7_224", options=options)
    assert trunk(torch.zeros(2, 3, 32, 32)).shape == (2, trunk.num_features, 1, 1)


@pytest.mark.parametrize(
    ("build", "size"),
    [
        (lambda: TimmTrunk("resnet18", options=SMALL), (128, 128)),
        (lambda: TimmTrunk("vit_tiny_patch16_224", options=dict(depth=1)), (224, 224)),
        (
            lambda: TimmTrunk("vit_tiny_patch16_224", options=dict(depth=1, img_size=(32, 48))),
            (32, 48),
        ),
        (lambda: TorchvisionTrunk("vit_b_16", options=dict(image_size=32)), (32, 32)),
        (lambda: TimmTrunk("efficientformer_l1"), (224, 224)),
    ],
)
def test_the_size_of_images_that_a_network_wants(build, size):
    whole = nn.Module()
    whole.trunk = build()
    assert image_size_of(nn.Module(), whole) == size
    with torch.no_grad():
        whole.trunk.eval()(torch.zeros(1, 3, *size))


def test_wrong_names_and_settings():
    with pytest.raises(ValueError, match="resnet18"):
        TorchvisionTrunk("resnet19")
    with pytest.raises(ValueError, match="resnet18"):
        TimmTrunk("resnet19")
    with pytest.raises(ValueError, match="one set of weights"):
        TorchvisionTrunk("resnet18", checkpoint="a.pth", weights="DEFAULT")
    with pytest.raises(ValueError, match="one set of weights"):
        TimmTrunk("resnet18", checkpoint="a.pth", pretrained=True)
    with pytest.raises(ValueError, match="maskrcnn_resnet50_fpn do not"):
        TorchvisionTrunk("maskrcnn_resnet50_fpn", options=dict(weights_backbone=None))
    with pytest.raises(ValueError, match="no weights 'BEST' of resnet18. It has IMAGENET1K_V1"):
        TorchvisionTrunk("resnet18", weights="BEST")
    with pytest.raises(ValueError, match="width_mult"):
        TorchvisionTrunk("resnet18", options=dict(width_mult=0.5))
    with pytest.raises(ValueError, match="chanels"):
        TimmTrunk("resnet18", options=dict(chanels=(4, 4, 8, 8)))
    with pytest.raises(ValueError, match=r"no model 'q'. It has \d+ others"):
        TimmTrunk("q")
    with pytest.raises(ValueError, match="Use TimmTrunk"):
        TorchvisionTrunk("googlenet", options=dict(aux_logits=True, init_weights=False))


def test_a_trunk_may_end_early():
    torch.manual_seed(0)
    whole = TorchvisionTrunk("mobilenet_v2").eval()
    cut = TorchvisionTrunk("mobilenet_v2", until="features.11").eval()
    assert cut.num_features == 96
    assert list(cut.state_dict()) == [
        key for key in whole.state_dict() if int(key.split(".")[1]) <= 11
    ]
    cut.load_state_dict(whole.state_dict(), strict=False)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(cut(images), whole.features[:12](images))


def test_a_cut_trunk_keeps_its_weights(tmp_path):
    file = tmp_path / "whole.pth"
    whole = get_model("resnet18")
    torch.save(whole.state_dict(), file)
    cut = TorchvisionTrunk("resnet18", checkpoint=str(file), until="layer3.0")
    assert cut.num_features == 256
    for key, value in cut.state_dict().items():
        assert torch.equal(value, whole.state_dict()[key])
    assert "layer3.1.conv1.weight" not in cut.state_dict() and not hasattr(cut, "layer4")


@pytest.mark.parametrize(
    ("name", "until", "match"),
    [
        ("resnet18", "layer9", "until must name a part.*'layer9'.*layer4"),
        ("mobilenet_v2", "features.11.conv.9", "features.11.conv.9"),
        ("vit_b_16", "encoder", "a transformer cannot end earlier"),
    ],
)
def test_a_wrong_end_is_named(name, until, match):
    with pytest.raises(ValueError, match=match):
        TorchvisionTrunk(name, until=until)
