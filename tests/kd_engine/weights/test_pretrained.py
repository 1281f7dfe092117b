"""Parts that start from a file are filled by it, or the error names what is missing."""

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.model.weight_init import PretrainedInit
from torch import nn

from kd_core.checkpoint.load import CheckpointError
from kd_engine.weights.checkpoint import use_safe_checkpoints
from kd_engine.weights.pretrained import initialize_strictly, use_strict_pretrained


class Backbone(BaseModule):
    def __init__(self, init_cfg=None, width=4):
        super().__init__(init_cfg)
        self.conv1, self.layer1 = nn.Conv2d(3, width, 3), nn.Conv2d(width, 4, 3)


class OwnReader(Backbone):
    """Reads its file itself, as mmdet's Swin and PVT do: what happens to fit."""

    def init_weights(self):
        found = torch.load(self.init_cfg["checkpoint"])
        renamed = {key.replace("stem", "conv1"): value for key, value in found.items()}
        self.load_state_dict(renamed, strict=False)


class Detector(BaseModule):
    def __init__(self, backbone, init_cfg=None):
        super().__init__(init_cfg)
        self.backbone, self.head = backbone, nn.Linear(4, 2)


@pytest.fixture(autouse=True)
def _strict():
    use_safe_checkpoints()
    use_strict_pretrained()


@pytest.fixture
def file(tmp_path):
    """Weights of a classifier with that backbone."""
    torch.manual_seed(1)
    weights = {**Backbone().state_dict(), "fc.weight": torch.ones(9, 4)}
    torch.save({"state_dict": weights, "meta": {}}, tmp_path / "a.pth")
    return str(tmp_path / "a.pth"), weights


def initialized(init_cfg, kind=Backbone, **options):
    model = Detector(kind(init_cfg, **options))
    model.lines = initialize_strictly(model)
    return model


@pytest.mark.parametrize("kind", ["Pretrained", PretrainedInit])
def test_a_backbone_starts_from_a_classifier_s_file(file, kind):
    model = initialized(dict(type=kind, checkpoint=file[0]))
    assert torch.equal(model.backbone.conv1.weight, file[1]["conv1.weight"])
    assert model.lines == [f"backbone: {file[0]}"]


@pytest.mark.parametrize("kind", ["Pretrained", PretrainedInit])
def test_a_file_of_another_width_is_refused(file, kind):
    with pytest.raises(CheckpointError, match=r"a\.pth does not fit Backbone(?s:.*)conv1\.weight"):
        initialized(dict(type=kind, checkpoint=file[0]), width=5)


def test_unless_that_is_allowed(file):
    options = dict(type="Pretrained", checkpoint=file[0], allow_partial=True)
    model = initialized(options, width=5)
    assert torch.equal(model.backbone.layer1.bias, file[1]["layer1.bias"])


def test_a_detector_s_file_needs_its_prefix(tmp_path):
    source = Detector(Backbone())
    torch.save({"ema": source.state_dict(), "epoch": 3}, tmp_path / "a.pth")
    options = dict(type="Pretrained", checkpoint=str(tmp_path / "a.pth"), key="ema")
    with pytest.raises(CheckpointError, match=r"prefix='backbone\.' takes those alone"):
        initialized(options)
    model = initialized({**options, "prefix": "backbone"})
    assert torch.equal(model.backbone.conv1.weight, source.backbone.conv1.weight)


def test_what_a_prefix_has_besides_is_named(tmp_path):
    source = Detector(Backbone())
    source.backbone.layer2 = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    torch.save(source.state_dict(), tmp_path / "a.pth")
    path = str(tmp_path / "a.pth")
    model = initialized(dict(type="Pretrained", checkpoint=path, prefix="backbone."))
    assert model.lines == [f"backbone: {path}, whose backbone. also has layer2"]


def test_a_whole_model_starts_without_what_was_trained_beside_it(tmp_path):
    source = Detector(Backbone())
    weights = {**source.state_dict(), "distiller.iteration": torch.tensor(40)}
    torch.save(weights, tmp_path / "a.pth")
    model = Detector(Backbone(), dict(type="Pretrained", checkpoint=str(tmp_path / "a.pth")))
    model.distiller = nn.Module()
    model.distiller.register_buffer("iteration", torch.tensor(0))
    model.init_weights()
    assert model.distiller.iteration == 0
    assert torch.equal(model.head.weight, source.head.weight)


def test_an_absent_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"no checkpoint none\.pth"):
        initialized(dict(type="Pretrained", checkpoint="none.pth"))


def test_parts_that_read_their_file_themselves_are_compared_with_it(tmp_path):
    path = str(tmp_path / "a.pth")
    weights = Backbone().state_dict()
    torch.save({key.replace("conv1", "stem"): value for key, value in weights.items()}, path)
    options = dict(type="Pretrained", checkpoint=path)
    assert initialized(options, OwnReader).lines == [f"backbone: {path}"]
    torch.save({f"other.{key}": value for key, value in weights.items()}, path)
    with pytest.raises(CheckpointError, match=r"0 of its 4 parameters are values of the file"):
        initialized(options, OwnReader)
    initialized({**options, "allow_partial": True}, OwnReader)


def test_parts_that_read_their_file_themselves_name_what_they_missed(tmp_path):
    path = str(tmp_path / "a.pth")
    weights = Backbone().state_dict()
    torch.save({key: weights[key] for key in weights if key != "conv1.weight"}, path)
    options = dict(type="Pretrained", checkpoint=path)
    words = r"3 of its 4 parameters are values of the file\. It lacks conv1\.weight\."
    with pytest.raises(CheckpointError, match=words):
        initialized(options, OwnReader)


class Resetting(Backbone):
    """Sets a bias after it has loaded its file, as YOLOX's head does."""

    def init_weights(self):
        super().init_weights()
        self.layer1.bias.data.fill_(-4.6)


def test_what_is_set_anew_after_loading_is_named(file):
    options = dict(type="Pretrained", checkpoint=file[0])
    with pytest.raises(
        CheckpointError, match=r"Resetting sets layer1\.bias anew .*inherit=\['back"
    ):
        initialized(options, Resetting)
    initialized({**options, "allow_partial": True}, Resetting)


def test_what_the_whole_model_loads_later_may_replace_a_part(file, tmp_path):
    torch.manual_seed(2)
    source = Detector(Backbone())
    torch.save(source.state_dict(), tmp_path / "whole.pth")
    whole = dict(type="Pretrained", checkpoint=str(tmp_path / "whole.pth"))
    model = Detector(Backbone(dict(type="Pretrained", checkpoint=file[0])), whole)
    assert len(initialize_strictly(model)) == 2
    assert torch.equal(model.backbone.conv1.weight, source.backbone.conv1.weight)
