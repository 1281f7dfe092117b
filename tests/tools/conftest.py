"""One tiny teacher and one tiny distilled student, trained once for all tests of the tools."""

from pathlib import Path

import pytest
import torch

import kd_det  # noqa: F401  before mmdet
from kdkit.cli import main
from kdkit.demo.digit_scenes import SceneOptions
from kdkit.demo.digit_set import make_detection_set

from ..forked import forget_instances

ROOT = Path(__file__).parents[2]

BASE = """
_base_ = "mmdet::_base_/models/faster-rcnn_r50_fpn.py"
default_scope = "mmdet"
custom_imports = dict(imports=["kd_det"])
data_root = {data!r}
classes = tuple("0123456789")
pretrained = None
model = dict(
    backbone=dict(depth=18, base_channels=8, frozen_stages=-1, norm_eval=False, init_cfg=None),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16),
        bbox_head=dict(in_channels=16, fc_out_channels=32, num_classes=10),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=50, max_per_img=30), rcnn=dict(sampler=dict(num=32))
    ),
    test_cfg=dict(rpn=dict(nms_pre=50, max_per_img=30), rcnn=dict(max_per_img=20)),
)
dataset = dict(
    type="CocoDataset",
    data_root=data_root,
    data_prefix=dict(img="JPEGImages"),
    metainfo=dict(classes=classes),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        **dataset,
        ann_file="annotations/instances_train.json",
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="Resize", scale=(80, 80), keep_ratio=True),
            dict(type="PackDetInputs"),
        ],
    ),
)
test_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        **dataset,
        ann_file="annotations/instances_val.json",
        test_mode=True,
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=(80, 80), keep_ratio=True),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="PackDetInputs", meta_keys=(
                "img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
        ],
    ),
)
test_evaluator = dict(
    type="CocoMetric", metric="bbox", ann_file=data_root + "/annotations/instances_val.json"
)
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=1, val_interval=99)
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.005, momentum=0.9))
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=3),
    logger=dict(type="LoggerHook", interval=2),
)
log_level = "WARNING"
randomness = dict(seed=0)
"""

TEACHER = """
_base_ = "base.py"
model = dict(
    backbone=dict(base_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=24),
    rpn_head=dict(in_channels=24, feat_channels=24),
    roi_head=dict(bbox_roi_extractor=dict(out_channels=24), bbox_head=dict(in_channels=24)),
)
"""

DISTILLED = """
_base_ = "base.py"
model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student={{{{_base_.model}}}},
    teacher=dict(config={teacher!r}, checkpoint={checkpoint!r}),
    dry_run_size=(64, 64),
    terms=dict(
        at=dict(loss=dict(type="kd_core.losses.AttentionTransferLoss"), layers="neck[0:3]"),
        imitation=dict(
            loss=dict(type="kd_core.losses.FeatureImitationLoss"), layers="neck[1]", weight=0.1
        ),
    ),
)
custom_hooks = [dict(type="EMAHook", momentum=0.3)]
"""

VOC = """
_base_ = "distilled.py"
dataset = dict(
    _delete_=True,
    type="VOCDataset",
    data_root={data!r},
    data_prefix=dict(sub_data_root=""),
    metainfo=dict(classes=tuple("0123456789")),
)
train_dataloader = dict(
    dataset=dict(
        type="VOCDataset",
        ann_file="ImageSets/Main/train.txt",
        data_prefix=dict(_delete_=True, sub_data_root=""),
    )
)
test_dataloader = dict(
    dataset=dict(
        type="VOCDataset",
        ann_file="ImageSets/Main/val.txt",
        data_prefix=dict(_delete_=True, sub_data_root=""),
    )
)
test_evaluator = dict(_delete_=True, type="VOCMetric", metric="mAP", eval_mode="11points")
"""


class Place:
    """A folder with data, configs and the results of the two runs."""

    def __init__(self, folder):
        self.folder = folder
        self.data = folder / "digits"
        make_detection_set(self.data, 12, 4, scene=SceneOptions(size=80, max_side=40, max_digits=3))
        self.base = self._write("base.py", BASE.format(data=str(self.data)))
        self.teacher = self._write("teacher.py", TEACHER)
        self.teacher_run = folder / "teacher_run"
        self.teacher_weights = self.teacher_run / "epoch_1.pth"
        self.distilled = self._write(
            "distilled.py",
            DISTILLED.format(teacher=str(self.teacher), checkpoint=str(self.teacher_weights)),
        )
        self.voc = self._write("voc.py", VOC.format(data=str(self.data)))
        self.run = folder / "run"
        self.weights = self.run / "epoch_1.pth"

    def variant(self, name, text, base="distilled.py"):
        """Write a config that changes another one."""
        return self._write(name, f'_base_ = "{base}"\n{text}\n')

    def _write(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


def run_command(*arguments):
    """Run a subcommand of kdkit in this process; returns its exit code."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code or 0


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    torch.set_num_threads(1)
    place = Place(tmp_path_factory.mktemp("tools"))
    assert run_command("train", place.teacher, "--work-dir", place.teacher_run) == 0
    assert run_command("train", place.distilled, "--work-dir", place.run) == 0
    return place


@pytest.fixture(scope="session")
def retrieval(tmp_path_factory):
    """Runs of retrieval on the built-in digits."""
    from .retrieval_run import make_runs

    return make_runs(tmp_path_factory.mktemp("retrieval"))


@pytest.fixture(scope="session")
def classification(tmp_path_factory):
    """Runs of classification on the built-in digits."""
    from .classification_run import make_runs

    return make_runs(tmp_path_factory.mktemp("classification"))


@pytest.fixture
def run_tool(capsys):
    """Run a subcommand in this process; returns exit code, output and error output."""

    def run(name, *arguments):
        forget_instances()
        capsys.readouterr()
        code = run_command(name, *arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
