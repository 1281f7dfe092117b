"""BCCD blood cells and an RTMDet that a CPU can train."""

_base_ = ["../../data/bccd.py", "../../../_base_/small_rtmdet.py"]

model = dict(
    _delete_=True,
    **_base_.dense.model,
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=_base_.model.backbone,
    neck=dict(_base_.model.neck, **_base_.dense.neck),
    bbox_head=dict(_base_.dense.bbox_head, num_classes=3),
)
optim_wrapper = _base_.dense.optim_wrapper
trained = dict(
    teacher=dict(
        config="kdkit::det/dense/teacher+bccd_rtmdet",
        checkpoint="work_dirs/det/dense/teacher+bccd_rtmdet/epoch_12.pth",
    ),
)
