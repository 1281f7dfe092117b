"""Students as ONNX files."""

import re
import warnings

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from kd_engine.doctor.probe import normalized, random_images
from kd_retrieval.embedder import Embedder
from kd_retrieval.onnx_check import OnnxCheck
from kd_retrieval.onnx_export import (
    TOLERANCE,
    OnnxEmbedder,
    WithPreprocessing,
    export_onnx,
    require_close,
)

RESNET = dict(
    type="kd_retrieval.trunks.TimmTrunk",
    name="resnet18",
    options=dict(channels=(4, 4, 8, 8)),
)
VIT = dict(
    type="kd_retrieval.trunks.TimmTrunk",
    name="vit_tiny_patch16_224",
    options=dict(img_size=32, depth=2, embed_dim=48, num_heads=3),
)
MODELS = {
    "average": dict(trunk=RESNET, dim=6),
    "gem": dict(trunk=RESNET, pooling="gem", dim=6),
    "not of unit length": dict(trunk=RESNET, pooling="max", normalize=False),
    "transformer": dict(trunk=VIT, pooling="token", dim=6),
    "tokens averaged": dict(trunk=VIT, pooling="average"),
    "average and max": dict(trunk=RESNET, pooling="average_max", dim=6),
    "mobilenet": dict(
        trunk=dict(
            type="kd_retrieval.trunks.TorchvisionTrunk",
            name="mobilenet_v2",
            options=dict(width_mult=0.25),
        ),
        dim=6,
    ),
    "bgr": dict(
        trunk=RESNET,
        data_preprocessor=dict(
            type="ImgDataPreprocessor",
            mean=[100.0, 110.0, 120.0],
            std=[50.0, 60.0, 70.0],
            bgr_to_rgb=True,
        ),
    ),
    "neither mean nor std": dict(trunk=RESNET, data_preprocessor=dict(type="ImgDataPreprocessor")),
}


@pytest.fixture
def model():
    return embedder(MODELS["average"])


def embedder(config):
    """Build a network whose embeddings of different images differ."""
    torch.manual_seed(0)
    model = Embedder(**config)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # one batch decides
            nn.init.ones_(module.weight)
    with torch.no_grad():
        model(normalized(model, torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8)))
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
def test_any_batch_of_plain_images_is_embedded_as_by_torch(name, tmp_path):
    model, path = embedder(MODELS[name]), tmp_path / "student.onnx"
    export_onnx(WithPreprocessing(model), path, (32, 32))
    exported = OnnxEmbedder(path)
    for count in (1, 2, 5):
        images = random_images(count, (32, 32))
        with torch.no_grad():
            wanted = model(normalized(model, images.clone())).numpy()
        require_close(exported(images.float().numpy()), wanted)  # raises above TOLERANCE
        assert np.ptp(wanted) > 100 * TOLERANCE


def test_torchvisions_transformer_takes_any_batch(tmp_path, monkeypatch):
    small = VisionTransformer(32, 16, num_layers=2, num_heads=3, hidden_dim=48, mlp_dim=96)
    monkeypatch.setattr("kd_engine.weights.zoos.get_model", lambda *_, **__: small)
    trunk = dict(type="kd_retrieval.trunks.TorchvisionTrunk", name="vit_b_16")
    model = embedder(dict(trunk=trunk, pooling="token", dim=6))
    export_onnx(WithPreprocessing(model), tmp_path / "student.onnx", (32, 32))
    assert OnnxCheck(model, tmp_path / "student.onnx", (32, 32)).on_random_images().images == 4


def test_torchs_own_attention_is_exported(tmp_path):
    class Trunk(nn.Module):
        num_features = 12

        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 12, 8, 8)
            self.attention = nn.MultiheadAttention(12, 2, batch_first=True)

        def forward(self, images):
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            return self.attention(tokens, tokens, tokens, need_weights=False)[0]

    model = embedder(dict(trunk=Trunk()))
    export_onnx(WithPreprocessing(model), tmp_path / "student.onnx", (32, 32))
    assert OnnxCheck(model, tmp_path / "student.onnx", (32, 32)).on_random_images().images == 4
    assert torch.backends.mha.get_fastpath_enabled()


def test_without_preprocessing_images_come_normalized(model, tmp_path):
    export_onnx(model, tmp_path / "student.onnx", (32, 32))
    assert OnnxCheck(model, tmp_path / "student.onnx", (32, 32), False).on_random_images()
    with pytest.raises(ValueError, match="embed as the original within 0.0001, but image 0"):
        OnnxCheck(model, tmp_path / "student.onnx", (32, 32)).on_random_images()


def test_the_file_says_what_it_is(model, tmp_path):
    path = tmp_path / "student.onnx"
    export_onnx(model, path, (32, 48), 18, dict(input="images", classes=["a", "b"]))
    assert OnnxEmbedder(path).metadata == {"input": "images", "classes": '["a", "b"]'}
    written = onnx.load(path)
    assert written.opset_import[0].version == 18
    (found,) = written.graph.input
    shape = [one.dim_param or one.dim_value for one in found.type.tensor_type.shape.dim]
    assert found.name == "images" and shape == ["batch", 3, 32, 48]


def test_a_frozen_batch_is_noticed(model, tmp_path):
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, images):
            return self.model(images) + torch.zeros(len(images), 1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        export_onnx(Frozen(), tmp_path / "student.onnx", (32, 32))
    assert not [one for one in caught if "ONNX" in str(one.message)]
    with pytest.raises(ValueError, match=r"\(2, 6\)|onnxruntime fails on images \(1, 3, 32, 32\)"):
        OnnxCheck(model, tmp_path / "student.onnx", (32, 32), False).on_random_images()


def test_other_weights_are_noticed(model, tmp_path):
    export_onnx(WithPreprocessing(model), tmp_path / "student.onnx", (32, 32))
    with torch.no_grad():
        model.projection.weight[0] *= 1.01
    with pytest.raises(ValueError, match=r"image 0 differs by 0\.0\d+\. It is not to be used"):
        OnnxCheck(model, tmp_path / "student.onnx", (32, 32)).on_random_images()


def test_closeness_is_relative_to_the_length_of_the_embedding():
    long = np.full((3, 4), 1000.0)
    assert require_close(long + 0.01, long) == pytest.approx(5e-6)
    changed = long.copy()
    changed[2, 1] += 1
    with pytest.raises(ValueError, match="image 12 differs by 0.0005"):
        require_close(changed, long, start=10)
    with pytest.raises(ValueError, match="image 0 differs by nan"):
        require_close(np.full((3, 4), np.nan), long)
    with pytest.raises(ValueError, match=re.escape("(3, 4), but gives (3, 5)")):
        require_close(np.zeros((3, 5)), long)


def test_what_cannot_be_exported(model, tmp_path, capfd):
    class Odd(nn.Module):
        def forward(self, images):
            return torch.linalg.eigvals(images[:, :, :3, :3]).abs().flatten(1)

    with pytest.raises(ValueError, match="torch cannot export this network with opset 17"):
        export_onnx(Odd(), tmp_path / "student.onnx", (32, 32))
    print("heard")
    assert capfd.readouterr().out == "heard\n"  # not the whole graph
    with pytest.raises(ValueError, match="17 to 20, but it is 11"):
        export_onnx(model, tmp_path / "student.onnx", (32, 32), 11)
    with pytest.raises(ValueError, match="ImgDataPreprocessor, but it is NoneType"):
        WithPreprocessing(nn.Linear(2, 2))
    (tmp_path / "broken.onnx").write_bytes(b"x")
    with pytest.raises(ValueError, match="cannot read"):
        OnnxEmbedder(tmp_path / "broken.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(model, tmp_path, monkeypatch, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ImportError, match=rf"needs {package}, .*kdkit\[onnx\]"):
        export_onnx(model, tmp_path / "student.onnx", (32, 32))
        OnnxEmbedder(tmp_path / "student.onnx")
