"""Chess pieces and a RetinaNet that a CPU can train."""

_base_ = ["../../data/chess.py", "../../../_base_/small_retinanet.py"]

model = dict(
    _delete_=True,
    **_base_.dense.model,
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=_base_.model.backbone,
    neck=dict(_base_.model.neck, **_base_.dense.neck),
    bbox_head=dict(_base_.dense.bbox_head, num_classes=12),
)
model["bbox_head"]["anchor_generator"].update(ratios=[1.0, 1.5, 2.0])  # upright, as the pieces are
optim_wrapper = _base_.dense.optim_wrapper
trained = dict(
    teacher=dict(
        config="kdkit::det/dense/teacher+chess",
        checkpoint="work_dirs/det/dense/teacher+chess/epoch_12.pth",
    ),
)
