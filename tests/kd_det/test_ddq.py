"""DDQ-DETR: its checkpoints name some modules twice; teacher, test and export load them."""

import copy

import pytest
import torch
from mmengine.config import Config

from kd_engine.build import build_teacher
from kd_engine.config.file import read_config
from kd_engine.evaluate import build_model, load_checkpoint_into

from .test_detr import _small


def ddq(tiny):
    config = copy.deepcopy(
        read_config("mmdet::ddq/ddq-detr-4scale_r50_8xb2-12e_coco.py").model.to_dict()
    )
    config["backbone"] = tiny.backbone() | dict(out_indices=[1, 2, 3])
    config["neck"].update(in_channels=[16, 32, 64], out_channels=32)
    config.update(num_queries=8, dense_topk_ratio=1.5, encoder=_small(config["encoder"]))
    config["decoder"] = _small(config["decoder"])
    config["decoder"]["layer_cfg"]["self_attn_cfg"]["num_heads"] = 8  # mmdet's mask is for 8
    config["positional_encoding"].update(num_feats=16)
    config["bbox_head"].update(num_classes=3, embed_dims=32)
    config["dn_cfg"]["group_cfg"].update(num_dn_queries=4)
    return config


@pytest.fixture
def trained(tiny, tmp_path):
    """A checkpoint of a model that has taken a step."""
    model = tiny.build(ddq(tiny))
    tiny.losses(model)
    weights = model.state_dict()
    assert any(name.startswith("decoder.aux_reg_branches") for name in weights)
    file = tmp_path / "epoch_1.pth"
    torch.save({"state_dict": weights}, file)
    return str(file), weights


def test_of_a_teacher(tiny, trained):
    file, weights = trained
    teacher = build_teacher(ddq(tiny), file)
    own = teacher.state_dict()
    assert own and all(torch.equal(value, weights[name]) for name, value in own.items())
    terms = dict(pkd=dict(loss=dict(type="kd_core.losses.PearsonFeatureLoss"), layers="neck"))
    model = tiny.build(tiny.distilled(ddq(tiny), ddq(tiny), terms, checkpoint=file), seed=1)
    assert tiny.losses(model)["loss_pkd"] > 0


def test_of_a_model_to_test_or_export(tiny, trained):
    file, weights = trained
    config = Config(dict(model=ddq(tiny), default_scope="mmdet"))
    model = build_model(config, config.model)
    load_checkpoint_into(model, file)
    own = model.state_dict()
    assert own and all(torch.equal(value, weights[name]) for name, value in own.items())
