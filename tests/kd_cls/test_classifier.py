"""A classifier's modes, its parts, and what it refuses."""

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from torch import nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer

from kd_cls import CifarNetwork, Classifier
from kd_cls.adapter import ClassifierAdapter
from kd_cls.classifier import image_size_of

from .toy_classifiers import STUDENT, ToyNetwork, batch


def build(**changes):
    torch.manual_seed(0)
    return MODELS.build({**STUDENT, **changes})


def prepared(model, **options):
    return model.data_preprocessor(batch(**options), False)


def test_the_three_modes_agree():
    model = build().eval()
    data = prepared(model)
    logits = model(**data)
    assert logits.shape == (8, 10)
    loss = model(**data, mode="loss")
    assert set(loss) == {"loss_ce"}
    torch.testing.assert_close(loss["loss_ce"], F.cross_entropy(logits, batch()["labels"]))
    found = model(**data, mode="predict")
    assert [(one["label"], one["id"]) for one in found] == [(i, 100 + i) for i in range(8)]
    assert torch.equal(torch.stack([one["logits"] for one in found]), logits)
    assert not found[0]["logits"].requires_grad


def test_cross_entropy_by_hand():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())  # logits: the mean colors
    model = Classifier(network, num_classes=3)
    images = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0]])[:, :, None, None].expand(2, 3, 4, 4)
    labels = torch.tensor([0, 1])
    expected = np.mean([np.log(np.exp(2) + 2) - 2, np.log(2 + np.e) - 0])
    assert model(images, labels, mode="loss")["loss_ce"].item() == pytest.approx(expected)
    model = Classifier(network, num_classes=3, loss_weight=0.1)
    assert model(images, labels, mode="loss")["loss_ce"].item() == pytest.approx(0.1 * expected)


def test_images_are_normalized_as_imagenets_by_default():
    gray = dict(batch(), inputs=torch.full((2, 3, 8, 8), 128, dtype=torch.uint8))
    found = build().data_preprocessor(gray, False)["inputs"][0, :, 0, 0]
    expected = (128 - np.array([123.675, 116.28, 103.53])) / [58.395, 57.12, 57.375]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_logits_are_a_layer_and_no_weight():
    model = build()
    seen = []
    model.logits.register_forward_hook(lambda _, args, output: seen.append(output))
    assert torch.equal(model(**prepared(model)), seen[0])
    assert all(key.startswith("network.") for key in model.state_dict())


def test_initial_weights_stay():
    model = build()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.init_weights()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_half_precision_gives_a_loss_in_float32():
    model = build()
    data = prepared(model)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(**data).dtype == torch.bfloat16
        assert model(**data, mode="loss")["loss_ce"].dtype == torch.float32
        assert model(**data, mode="predict")[0]["logits"].dtype == torch.float32


def test_the_number_of_classes_is_the_networks_or_given():
    assert build().num_classes == 10
    assert Classifier(CifarNetwork("resnet8", 7)).num_classes == 7
    assert Classifier(ToyNetwork(num_classes=3, told=False), num_classes=3).num_classes == 3
    with pytest.raises(ValueError, match="num_classes must be at least 2, but it is None"):
        Classifier(ToyNetwork(told=False))
    with pytest.raises(ValueError, match="is 7, but its ToyNetwork has 10 classes"):
        build(num_classes=7)
    model = Classifier(ToyNetwork(num_classes=3, told=False), num_classes=4)
    with pytest.raises(ValueError, match=r"must return logits \(8, 4\), but it returns \(8, 3\)"):
        model(**prepared(model))


def test_a_network_that_returns_no_logits():
    class Several(nn.Module):
        def forward(self, images):
            return {"out": images}

    model = Classifier(Several(), num_classes=3)
    with pytest.raises(ValueError, match="but it returns dict. Correct num_classes"):
        model(**prepared(model))


def test_images_of_the_wrong_size_are_refused():
    model = build(image_size=32)
    assert model(**prepared(model)).shape == (8, 10)
    with pytest.raises(ValueError, match="must have 32 x 32 pixels, .* but they have 40 x 40"):
        model(**prepared(model, size=40))
    assert build(image_size=[24, 40]).image_size == (24, 40)
    transformer = VisionTransformer(32, 16, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8,
                                    num_classes=10)  # fmt: skip
    model = Classifier(transformer, num_classes=10)
    assert model(**prepared(model)).shape == (8, 10)
    with pytest.raises(ValueError, match="does not take images of 48 x 48: .*Resize them"):
        model(**prepared(model, size=48))


def test_the_size_that_a_classifier_wants():
    transformer = VisionTransformer(64, 16, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8,
                                    num_classes=10)  # fmt: skip
    wants = Classifier(transformer, num_classes=10)
    assert image_size_of(build()) == (32, 32)
    assert image_size_of(build(), wants) == (64, 64)
    assert image_size_of(build(image_size=28), wants) == (28, 28)


def test_what_a_mode_lacks_is_named():
    model = build()
    data = prepared(model)
    del data["labels"]
    with pytest.raises(ValueError, match="mode 'loss' needs labels"):
        model(**data, mode="loss")
    with pytest.raises(ValueError, match="mode 'predict' needs ids"):
        model(data["inputs"], batch()["labels"], mode="predict")
    with pytest.raises(ValueError, match="must be tensor, loss or predict, but it is 'train'"):
        model(**data, mode="train")


def test_an_unknown_network_is_named():
    with pytest.raises(ValueError, match="kd_cls.CifarNetwork, .* 'kd_cls.CifarNet'"):
        build(network=dict(type="kd_cls.CifarNet", name="resnet8"))


def test_stages_are_those_that_a_classifier_names_or_its_network_has():
    own = [f"network.stage{number}" for number in (1, 2, 3)]
    adapter = ClassifierAdapter()
    assert adapter.stages(build(), "student") == own
    assert adapter.stages(build(stages=("network.stage2",)), "student") == ["network.stage2"]
    untold = dict(network=dict(type="ToyNetwork", told=False), num_classes=10)
    with pytest.raises(ValueError, match="ToyNetwork does not name its stages.*stages= of"):
        adapter.stages(build(**untold), "student")
