# python tools/train.py configs/demo/teacher.py     (make demo runs it)
"""The demo's teacher: ResNet-18 at three times the student's width, with a wider FPN and head."""

_base_ = "../_base_/digits.py"

model = dict(
    backbone=dict(base_channels=24),
    neck=dict(in_channels=[24, 48, 96, 192], out_channels=48),
    rpn_head=dict(in_channels=48, feat_channels=48),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=48),
        bbox_head=dict(in_channels=48, fc_out_channels=192),
    ),
)
