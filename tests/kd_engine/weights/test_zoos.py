import pytest
import torchvision

from kd_engine.weights.zoos import (
    check_one_source,
    nearest_names,
    timm_model,
    torchvision_model,
    torchvision_weights,
)


def test_models_by_name():
    assert torchvision_model("squeezenet1_1", dict(num_classes=3)).num_classes == 3
    assert (
        torchvision_model("SqueezeNet1_1", {}, torchvision.models, num_classes=3).num_classes == 3
    )
    assert timm_model("resnet18", dict(channels=(4, 4, 4, 4)), num_classes=3).num_classes == 3


def test_options_must_not_set_what_is_fixed():
    with pytest.raises(ValueError, match="squeezenet1_1 of torchvision with options.*num_classes"):
        torchvision_model("squeezenet1_1", dict(num_classes=3), num_classes=4)
    with pytest.raises(ValueError, match="resnet18 of timm with options.*num_classes"):
        timm_model("resnet18", dict(num_classes=3), num_classes=4)


def test_a_detector_is_no_classifier():
    with pytest.raises(ValueError, match="torchvision has no classifier 'ssd300_vgg16'"):
        torchvision_model("ssd300_vgg16", {}, torchvision.models)
    with pytest.raises(ValueError, match="torchvision has no model 'q'. It has .* others"):
        torchvision_model("q", {})


def test_where_weights_are():
    assert torchvision_weights("resnet18", "DEFAULT").endswith("/resnet18-f37072fd.pth")
    with pytest.raises(ValueError, match="no weights 'BEST' of resnet18. It has IMAGENET1K_V1"):
        torchvision_weights("resnet18", "BEST")


def test_one_source_of_weights():
    check_one_source(None, weights="DEFAULT")
    check_one_source("a.pth", weights=None)
    check_one_source("a.pth", pretrained=False)
    with pytest.raises(ValueError, match="checkpoint='a.pth' and pretrained=True"):
        check_one_source("a.pth", pretrained=True)


def test_nearest_names():
    assert nearest_names("wrn_16", ["wrn_16_2", "vgg8"]) == "The nearest names: wrn_16_2."
    assert nearest_names("q", ["wrn_16_2", "vgg8"]) == "It has 2 others."
