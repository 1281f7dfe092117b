"""mmdet's backbones start from published files, and are refused the wrong ones."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from torchvision.models import get_model

from kd_core.checkpoint.load import CheckpointError
from kd_engine.weights.initial import check_initial_weights
from kd_engine.weights.pretrained import initialize_strictly, use_strict_pretrained

PLUGIN = dict(cfg=dict(type="ContextBlock", ratio=0.25), position="after_conv3")
SWIN = dict(
    type="SwinTransformer", embed_dims=8, depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 2),
    window_size=4, convert_weights=True,
)  # fmt: skip
PVT = dict(
    type="PyramidVisionTransformerV2", embed_dims=8, num_layers=[1, 1, 1, 1],
    num_heads=[1, 1, 1, 1], convert_weights=False,
)  # fmt: skip

DETECTORS = dict(type="DetectoRS_ResNet", depth=50, base_channels=4, stem_channels=4)


@pytest.fixture(autouse=True)
def _strict():
    use_strict_pretrained()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files as torchvision publishes them, with random values."""
    folder = tmp_path_factory.mktemp("files")
    found = {}
    for name in ("resnet18", "resnet34", "resnet50"):
        found[name] = str(folder / f"{name}.pth")
        torch.save(get_model(name).state_dict(), found[name])
    return found


def start(config, checkpoint, **options):
    init_cfg = dict(type="Pretrained", checkpoint=checkpoint, **options)
    backbone = MODELS.build(ConfigDict({**config, "init_cfg": init_cfg}))
    initialize_strictly(backbone)
    return backbone


def resnet(depth=18, **options):
    return dict(type="ResNet", depth=depth, **options)


@pytest.mark.parametrize(
    "config, name",
    [
        (resnet(), "resnet18"),
        (resnet(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)),
         "resnet18"),
        (resnet(50, style="caffe", norm_cfg=dict(type="BN", requires_grad=False)), "resnet50"),
        (resnet(50, dcn=dict(type="DCNv2", fallback_on_stride=False),
                stage_with_dcn=(False, True, True, True)), "resnet50"),
        (resnet(50, plugins=[PLUGIN]), "resnet50"),
    ],
    ids=["plain", "c4", "caffe", "dcn", "plugins"],
)  # fmt: skip
def test_a_classifier_s_file_starts_a_resnet(files, config, name):
    backbone = start(config, files[name])
    given = torch.load(files[name])
    weights = backbone.state_dict()
    shared = [key for key in given if key in weights and not key.endswith("tracked")]
    assert len(shared) > 70
    for key in shared:
        assert torch.equal(weights[key], given[key]), key


@pytest.mark.parametrize(
    "depth, name, words",
    [
        (34, "resnet18", r"layer1\.2\.conv1\.weight"),  # shallower: mmengine leaves blocks random
        (18, "resnet34", r"layer1\.2\.conv1\.weight"),  # deeper
        (50, "resnet18", "mis-shaped"),
    ],
)
def test_another_depth_is_refused(files, depth, name, words):
    with pytest.raises(CheckpointError, match=rf"{name}\.pth does not fit ResNet(?s:.*){words}"):
        start(resnet(depth), files[name])


def published(backbone):
    """The names of Swin's own program, and the classifier's norm and head beside them."""
    weights = {}
    for key, value in backbone.state_dict().items():
        if not key.startswith("norm"):  # the norms of the outputs are the detector's own
            new = key.replace("stages", "layers").replace("attn.w_msa", "attn")
            new = new.replace("ffn.layers.0.0", "mlp.fc1").replace("ffn.layers.1", "mlp.fc2")
            weights[new.replace("patch_embed.projection", "patch_embed.proj")] = value
    return {"model": {**weights, "norm.weight": torch.ones(3), "head.bias": torch.zeros(9)}}


def test_swin_reads_its_own_program_s_file(tmp_path):
    torch.manual_seed(0)
    source = MODELS.build(SWIN)
    path = str(tmp_path / "swin.pth")
    torch.save(published(source), path)
    backbone = start(SWIN, path)
    key = "stages.2.blocks.1.ffn.layers.0.0.weight"
    assert torch.equal(backbone.state_dict()[key], source.state_dict()[key])


def test_swin_is_refused_a_file_of_another_network(tmp_path, files):
    with pytest.raises(
        CheckpointError, match=r"resnet18\.pth must fill .*SwinTransformer.*It lacks patch_embed"
    ):
        start(SWIN, files["resnet18"])


def test_swin_without_a_known_key_is_a_sentence(files):
    init_cfg = dict(type="Pretrained", checkpoint=files["resnet18"])
    config = Config(dict(model={**SWIN, "convert_weights": False, "init_cfg": init_cfg}))
    with pytest.raises(CheckpointError, match=r"resnet18\.pth must fill the parts"):
        check_initial_weights(config)


def test_a_shallower_swin_s_file_names_the_blocks_that_would_stay_random(tmp_path):
    source = MODELS.build({**SWIN, "depths": (1, 1, 1, 1)})
    torch.save(published(source), tmp_path / "swin.pth")
    words = r"\d+ of its \d+ parameters .* It lacks stages\.2\.blocks\.1\.attn\.w_msa\."
    with pytest.raises(CheckpointError, match=words):
        start(SWIN, str(tmp_path / "swin.pth"))
    start(SWIN, str(tmp_path / "swin.pth"), allow_partial=True)


def test_a_shallower_pvt_s_file_names_the_layers_that_would_stay_random(tmp_path):
    torch.save(MODELS.build(PVT).state_dict(), tmp_path / "pvt.pth")
    with pytest.raises(CheckpointError, match=r"It lacks layers\.3\.1\.1\."):
        start({**PVT, "num_layers": [1, 1, 1, 2]}, str(tmp_path / "pvt.pth"))


def test_detectors_rs_is_compared_with_its_file(tmp_path):
    torch.save(MODELS.build(DETECTORS).state_dict(), tmp_path / "a.pth")
    for more in ({}, dict(rfp_inplanes=4)):  # with layers that no file of a classifier has
        start({**DETECTORS, **more}, str(tmp_path / "a.pth"))
    with pytest.raises(CheckpointError, match=r"DetectoRS_ResNet.* It lacks layer3\.6\.conv1\."):
        start({**DETECTORS, "depth": 101}, str(tmp_path / "a.pth"))


def test_a_head_that_sets_biases_after_loading_is_refused(tmp_path, tiny):
    config = tiny.yolox()
    torch.save(tiny.build(config).state_dict(), tmp_path / "a.pth")
    options = dict(checkpoint=str(tmp_path / "a.pth"), prefix="bbox_head.")
    start(config["bbox_head"], **options)  # the file has just what it sets
    weights = torch.load(tmp_path / "a.pth")
    weights["bbox_head.multi_level_conv_cls.1.bias"] += 1
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"sets multi_level_conv_cls\.1\.bias anew after"):
        start(config["bbox_head"], **options)


def test_pvt_is_compared_with_its_file(tmp_path, files):
    torch.manual_seed(0)
    source = MODELS.build(PVT)
    torch.save(source.state_dict(), tmp_path / "pvt.pth")
    start(PVT, str(tmp_path / "pvt.pth"))
    with pytest.raises(CheckpointError, match=r"0 of its \d+ parameters"):
        start(PVT, files["resnet18"])
