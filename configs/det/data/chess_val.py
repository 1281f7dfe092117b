"""Chess to choose settings on: measured on the part valid, so that test stays unseen."""

_base_ = "chess.py"

ann_file = "valid/_annotations.coco.json"
val_dataloader = dict(dataset=dict(ann_file=ann_file, data_prefix=dict(img="valid/")))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=_base_.data_root + ann_file)
test_evaluator = val_evaluator
trained = dict(
    teacher=dict(
        config="kdkit::det/teacher+chess_val",
        checkpoint="work_dirs/det/teacher+chess_val/epoch_12.pth",
    ),
    student=dict(
        config="kdkit::det/student+chess_val",
        checkpoint="work_dirs/det/student+chess_val/epoch_12.pth",
    ),
)
