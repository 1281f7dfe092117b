"""Configs load the real data that they name, and the one of the README trains on COCO."""

import os
from pathlib import Path

import pytest

import kd_cls  # noqa: F401
import kd_det  # noqa: F401  first: mmdet asks for mmcv's operators
import kd_retrieval  # noqa: F401

# isort: split
from mmdet.registry import DATASETS

from .forked import ROOT, run
from .test_configs import load


def data(name):
    root = Path(os.environ.get("KD_DATA") or ROOT / "data") / name
    if not root.is_dir():
        pytest.skip(f"{name} is not there; KD_DATA names the folder that holds it")
    return root


@pytest.mark.parametrize(
    ("config", "folder", "images", "boxes"),
    [
        # 292 images with 2 boxes of no size left out; 72 images.
        ("det/student+bccd", "bccd_voc", (292, 72), None),
        ("det/student+bccd_val", "bccd_voc", (205, 87, 87), None),
        # One box, the only one of "bishop", left out.
        ("det/student+chess", "chess_coco", (202, 29, 29), (2107, 376, 376)),
        ("det/student+chess_val", "chess_coco", (202, 58, 58), (2107, 386, 386)),
    ],
)
def test_real_data_loads(config, folder, images, boxes, monkeypatch):
    monkeypatch.setenv("KD_DATA", str(data(folder).parent))
    load.cache_clear()  # KD_DATA is read with the config
    settings = load(f"configs/{config}")
    loaders = (settings.train_dataloader, settings.val_dataloader, settings.test_dataloader)
    sets = [DATASETS.build(loader.dataset) for loader in loaders[: len(images)]]
    assert tuple(map(len, sets)) == images
    if boxes:
        counts = [sum(len(one.get_data_info(i)["instances"]) for i in range(len(one)))
                  for one in sets]  # fmt: skip
        assert tuple(counts) == boxes
    assert tuple(sets[0][0]["inputs"].shape[1:]) in {(256, 382), (240, 320)}


@pytest.mark.slow
def test_the_coco_config_trains_and_evaluates(tmp_path):
    root = f"{data('coco53')}/"
    teacher = tmp_path / "teacher.py"
    teacher.write_text(
        '_base_ = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"\n'
        "model = dict(backbone=dict(init_cfg=None))\n"
    )
    options = [
        "model.teacher.checkpoint=None", "model.student.backbone.init_cfg=None",
        "model.student.test_cfg.rcnn.score_thr=0.0",  # for it has learned nothing
        "model.student.test_cfg.rcnn.max_per_img=20",
        "model.dry_run_size=(64,64)", f"model.teacher.config={teacher}",
        "train_cfg._delete_=True", "train_cfg.type=IterBasedTrainLoop", "train_cfg.max_iters=2",
        "train_cfg.val_interval=2",
        "default_hooks.checkpoint.by_epoch=False", "default_hooks.checkpoint.interval=-1",
        "default_hooks.logger.interval=1", "log_processor.by_epoch=False", "param_scheduler=[]",
        f"val_evaluator.ann_file={root}annotations/instances_val2017.json",
    ]  # fmt: skip
    for loader in ("train", "val", "test"):
        options += [f"{loader}_dataloader.dataset.data_root={root}",
                    f"{loader}_dataloader.num_workers=0",
                    f"{loader}_dataloader.persistent_workers=False"]  # fmt: skip
    for pipeline in ("train", "val"):
        place = f"{pipeline}_dataloader.dataset.pipeline"
        options.append(f"{place}.{2 if pipeline == 'train' else 1}.scale=(96,96)")
    command = ["train", "configs/hmat_faster_rcnn.py", "--work-dir", tmp_path / "run"]
    code = run([*command, "--cfg-options", *options], tmp_path / "log.txt")
    text = (tmp_path / "log.txt").read_text()
    assert code == 0, text[-3000:]
    assert "loss_hmat_position" in text and "coco/bbox_mAP" in text
