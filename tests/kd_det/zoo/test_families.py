"""The families of mmdet, tried with small models: plain mmdet, distilled, and both predictions."""

import copy
from importlib.util import find_spec
from pathlib import Path

import pytest
from mmengine.config import ConfigDict
from mmengine.registry import MODELS

import kd_det  # noqa: F401  first: mmdet asks for mmcv's operators
from kd_det.probe import dry_run
from kd_det.zoo import trial
from kd_det.zoo.families import FAMILIES, OUT_OF_SCOPE, SAME_MODEL
from kd_det.zoo.trial import one_size, tiny_model, trains_masks, try_model
from kd_engine.config.file import read_config
from kd_engine.doctor.layer_table import layer_rows

RESNET = (8, 16, 32, 64)  # channels of the stages, fine to coarse
SWIN = (24, 48, 96, 192)
CSP = (32, 64, 128)
SMALL = {
    "ResNet": (RESNET, dict(depth=18, base_channels=8)),
    "SwinTransformer": (SWIN, dict(embed_dims=24, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2])),
    "CSPNeXt": (CSP, dict(widen_factor=0.125)),
    "CSPDarknet": (CSP, dict(widen_factor=0.125)),
}
TRIED = (
    "retinanet", "faster_rcnn", "cascade_rcnn", "fcos", "rtmdet", "yolox", "mask_rcnn", "detr",
    "dino", "swin",
)  # fmt: skip


def small(name):
    """A family's model with a small backbone and short transformers."""
    model = tiny_model(read_config(f"mmdet::{FAMILIES[name]}"))
    channels, changes = SMALL[model["backbone"]["type"]]
    model["backbone"].update(changes)
    model["neck"]["in_channels"] = list(channels[-len(model["neck"]["in_channels"]) :])
    for part in ("encoder", "decoder"):
        model.get(part, {}).update(num_layers=2)
    if "bbox_roi_extractor" in model.get("roi_head", {}):
        heads = model["roi_head"]["bbox_head"]
        for head in heads if isinstance(heads, list) else [heads]:
            head["fc_out_channels"] = 32
    for augment in model["data_preprocessor"].get("batch_augments") or []:
        if augment["type"] == "BatchSyncRandomResize":
            augment.update(random_size_range=(96, 160), interval=1)
    return model


@pytest.mark.parametrize("name", TRIED)
def test_a_family_trains_distils_and_predicts(name):
    steps = []
    config = read_config(f"mmdet::{FAMILIES[name]}")
    masks = trains_masks(config)
    assert masks == (name in ("mask_rcnn", "swin"))
    row = try_model(small(name), steps.append, masks, one_size(config))
    assert row == {"trains": "yes", "distils": "yes", "predicts": "yes", "reason": ""}
    assert steps[-1] == "kdkit, one training step"


def test_images_are_of_one_size_where_the_pipeline_makes_them_so():
    alike = {
        name: one_size(read_config(f"mmdet::{FAMILIES[name]}"))
        for name in ("yolact", "rtmdet_ins", "retinanet", "yolov3_darknet")
    }
    assert alike == dict(yolact=True, rtmdet_ins=True, retinanet=False, yolov3_darknet=False)


def test_a_family_that_needs_a_package(monkeypatch):
    def read(name):
        raise ImportError("an import failed (mmpretrain)")

    monkeypatch.setattr(trial, "read_config", read)
    row = trial.try_family("mmdet::a/b.py", print)
    assert (
        row["trains"] == "no" and row["reason"] == "needs a package: an import failed (mmpretrain)"
    )


def test_layers_of_a_detector_that_needs_proposals():
    model = MODELS.build(ConfigDict(small("fast_rcnn")))
    rows = {row.path: row for row in layer_rows(model, dry_run)}
    assert rows["roi_head.bbox_head.fc_cls"].runs == 1
    assert rows["roi_head.bbox_head.fc_cls"].outputs["roi_head.bbox_head.fc_cls"] == [(2, 81)]


@pytest.mark.parametrize(("name", "images"), [("retinanet", 2), ("guided_anchoring", 1)])
def test_layers_of_a_dense_head(name, images):
    """mmdet calls the head's forward, past its hooks; Guided Anchoring takes a single image."""
    model = MODELS.build(ConfigDict(small(name)))
    rows = {row.path: row for row in layer_rows(model, lambda one: dry_run(one, (128, 128)))}
    assert rows["bbox_head"].runs == 1
    assert rows["bbox_head"].outputs["bbox_head[0][0]"][0][0] == images


def test_a_fault_of_mmdet_is_said_to_be_its_own():
    model = small("retinanet")
    model["bbox_head"]["loss_cls"]["type"] = "NoSuchLoss"
    row = try_model(model, lambda step: None)
    assert row["trains"] == "no" and row["distils"] == row["predicts"] == "-"
    assert row["reason"].startswith("mmdet's own: ") and "NoSuchLoss" in row["reason"]


def test_the_page_has_a_row_for_each_family():
    text = (Path(__file__).parents[3] / "docs" / "zoo.md").read_text(encoding="utf-8")
    for name, config in FAMILIES.items():
        assert f"| {name} | {Path(config).stem.removesuffix('.py')} |" in text, name


def test_every_folder_of_configs_is_a_family_or_left_out_with_a_reason():
    (package,) = find_spec("mmdet").submodule_search_locations
    folders = {path.name for path in (Path(package) / ".mim" / "configs").iterdir()} - {"_base_"}
    tried = {config.split("/")[0] for config in FAMILIES.values()}
    assert folders <= tried | SAME_MODEL.keys() | OUT_OF_SCOPE.keys()
    assert not tried & (SAME_MODEL.keys() | OUT_OF_SCOPE.keys())
    assert set(SAME_MODEL.values()) <= set(FAMILIES) and set(TRIED) <= set(FAMILIES)
    before = copy.deepcopy(FAMILIES)
    assert before == dict(sorted(FAMILIES.items()))
