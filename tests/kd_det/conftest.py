"""Detectors, batches and runs that are small enough for one core."""

from __future__ import annotations

import copy
import functools

import kd_det  # noqa: F401  first: mmdet asks for mmcv's operators

# isort: split
import mmengine.runner.runner
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch.utils.data import DataLoader

from kd_engine.config.file import read_config
from kd_engine.weights.checkpoint import use_safe_checkpoints

SIZES = ((64, 64), (64, 48), (52, 64), (64, 64))  # so that batches have padding


@functools.cache
def _base(name):
    return read_config(f"mmdet::{name}").model.to_dict()


class Tiny:
    """Configs and objects of tiny detectors with 3 classes."""

    @staticmethod
    def faster_rcnn(base_channels=8, neck=16, classes=3, **preprocessor):
        """Faster R-CNN, ResNet-18."""
        config = copy.deepcopy(_base("_base_/models/faster-rcnn_r50_fpn.py"))
        config["data_preprocessor"].update(preprocessor)
        config["backbone"] = Tiny.backbone(base_channels)
        config["neck"].update(in_channels=Tiny.channels(base_channels), out_channels=neck)
        config["rpn_head"].update(in_channels=neck, feat_channels=neck)
        config["rpn_head"]["anchor_generator"]["scales"] = [4]
        roi_head = config["roi_head"]
        roi_head["bbox_roi_extractor"]["out_channels"] = neck
        roi_head["bbox_head"].update(in_channels=neck, fc_out_channels=32, num_classes=classes)
        for proposals in (config["train_cfg"]["rpn_proposal"], config["test_cfg"]["rpn"]):
            proposals.update(nms_pre=50, max_per_img=20)
        config["train_cfg"]["rcnn"]["sampler"]["num"] = 32
        config["test_cfg"]["rcnn"]["score_thr"] = 0.0
        return config

    @staticmethod
    def backbone(base_channels=8):
        """ResNet-18 that trains every layer, from scratch."""
        return dict(type="ResNet", depth=18, base_channels=base_channels, frozen_stages=-1)

    @staticmethod
    def channels(base_channels=8):
        """Channels of the backbone's four stages."""
        return [base_channels * factor for factor in (1, 2, 4, 8)]

    @staticmethod
    def retinanet():
        """RetinaNet, ResNet-18."""
        config = copy.deepcopy(_base("_base_/models/retinanet_r50_fpn.py"))
        config["backbone"] = Tiny.backbone()
        config["neck"].update(in_channels=Tiny.channels(), out_channels=16)
        config["bbox_head"].update(in_channels=16, feat_channels=16, num_classes=3)
        return config

    @staticmethod
    def fcos():
        """FCOS, ResNet-18."""
        config = copy.deepcopy(_base("fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py"))
        config["backbone"] = Tiny.backbone()
        config["neck"].update(in_channels=Tiny.channels(), out_channels=32)
        config["bbox_head"].update(in_channels=32, feat_channels=32, num_classes=3)
        return config

    @staticmethod
    def yolox():
        """YOLOX, a quarter as wide as the smallest published one."""
        config = copy.deepcopy(_base("yolox/yolox_tiny_8xb8-300e_coco.py"))
        config["data_preprocessor"]["batch_augments"] = None
        config["backbone"].update(deepen_factor=0.33, widen_factor=0.125)
        config["neck"].update(in_channels=[32, 64, 128], out_channels=16, num_csp_blocks=1)
        config["bbox_head"].update(in_channels=16, feat_channels=16, num_classes=3)
        return config

    @staticmethod
    def terms(low="neck[0]", mid="neck[1:3]", high="neck[3]", **changes):
        """HMAT with a warm-up, and ASCKD."""
        hmat = dict(
            loss=dict(type="kd_core.losses.HMATLoss", activation_weight=10.0),
            layers=dict(low=low, mid=mid, high=high),
            schedule=dict(type="kd_core.schedules.LinearWarmup", end=4),
        )
        asckd = dict(loss=dict(type="kd_core.losses.ASCKDLoss"), layers=[low, mid, high])
        return dict(hmat={**hmat, **changes}, asckd={**asckd, **changes})

    @staticmethod
    def build(config, seed=0):
        """Build any model config with the seed's weights, initialized as a Runner would."""
        torch.manual_seed(seed)
        model = MODELS.build(ConfigDict(copy.deepcopy(config)))
        model.init_weights()
        for teacher in getattr(getattr(model, "distiller", None), "teachers", {}).values():
            if hasattr(teacher.model, "level_embed"):  # of a DETR; unset memory until a checkpoint
                torch.nn.init.normal_(teacher.model.level_embed)
        return model

    @staticmethod
    def distilled(student=None, teacher=None, terms=None, checkpoint=None, **options):
        """Config of a distilled detector."""
        return dict(
            type="kd_det.DistilledDetector",
            student=student or Tiny.faster_rcnn(),
            teacher=dict(config=teacher or Tiny.faster_rcnn(neck=24), checkpoint=checkpoint),
            terms=terms or Tiny.terms(),
            dry_run_size=(64, 64),
            **options,
        )

    @staticmethod
    def samples(count=2, seed=0):
        """Random images of several sizes with two boxes each, as a pipeline packs them."""
        generator = torch.Generator().manual_seed(seed)
        return [_sample(SIZES[index % 4], index, generator) for index in range(count)]

    @staticmethod
    def batch(model, count=2, seed=0):
        """A batch as the model's own preprocessor makes it."""
        return model.data_preprocessor(pseudo_collate(Tiny.samples(count, seed)), training=True)

    @staticmethod
    def losses(model, count=2, seed=0):
        """The loss dict of a training forward."""
        torch.manual_seed(seed)
        return model.train()(**Tiny.batch(model, count, seed), mode="loss")

    @staticmethod
    def runner(model, work_dir, iterations=4, batch_size=2, **settings):
        """A Runner over 8 images in order, with a fresh seed for each iteration."""
        loader = DataLoader(Tiny.samples(8), batch_size=batch_size, collate_fn=pseudo_collate)
        settings = {
            "optim_wrapper": dict(
                type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01, momentum=0.9)
            ),
            "custom_hooks": [],
            **settings,
        }
        settings["custom_hooks"] = [SeedEachIteration(), *settings["custom_hooks"]]
        return Runner(
            model=ConfigDict(copy.deepcopy(model)),
            work_dir=str(work_dir),
            train_dataloader=loader,
            train_cfg=dict(by_epoch=False, max_iters=iterations),
            default_hooks=dict(
                checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2),
                logger=dict(type="LoggerHook", interval=1),
            ),
            log_processor=dict(by_epoch=False),
            default_scope="mmdet",
            randomness=dict(seed=0),
            log_level="WARNING",
            experiment_name=f"{work_dir.name}_{id(loader)}",
            **settings,
        )


class SeedEachIteration(Hook):
    """mmdet samples boxes at random, and mmengine's checkpoints do not keep the generator."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        torch.manual_seed(runner.iter)


def _sample(size, number, generator):
    height, width = size
    sample = DetDataSample(
        metainfo=dict(
            img_id=number, img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0), img_path=""
        )
    )
    boxes = torch.tensor([[4.0, 6.0, 26.0, 30.0], [20.0, 10.0, 44.0, 46.0]])
    labels = torch.randint(3, (2,), generator=generator)
    sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=labels[:0])
    image = torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8)
    return dict(inputs=image, data_samples=sample)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    use_safe_checkpoints()
    init_default_scope("mmdet")
    monkeypatch.setattr(mmengine.runner.runner, "collect_env", dict)  # it starts compilers


@pytest.fixture
def tiny():
    return Tiny
