# python tools/train.py configs/demo/teacher.py     (make demo runs it)
"""The demo's teacher: ResNet-18 at half its width, with an FPN twice as wide as the student's."""

_base_ = "../_base_/digits.py"

model = dict(
    backbone=dict(base_channels=32),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(in_channels=64, fc_out_channels=256),
    ),
)
