# python tools/train.py configs/voc_teacher.py
"""VOC 07+12: Faster R-CNN with ResNet-101, the teacher of hmat_faster_rcnn_voc.py."""

_base_ = "_base_/voc.py"

model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint="torchvision://resnet101")),
    neck=dict(in_channels=[256, 512, 1024, 2048]),
)
