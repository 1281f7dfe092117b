"""BCCD to choose settings on: the training part of trainval is trained on, its rest measured."""

_base_ = "bccd.py"

train_dataloader = dict(dataset=dict(ann_file="ImageSets/Main/train.txt"))
val_dataloader = dict(dataset=dict(ann_file="ImageSets/Main/val.txt"))
test_dataloader = val_dataloader
trained = dict(
    teacher=dict(
        config="kdkit::det/teacher+bccd_val",
        checkpoint="work_dirs/det/teacher+bccd_val/epoch_12.pth",
    ),
    student=dict(
        config="kdkit::det/student+bccd_val",
        checkpoint="work_dirs/det/student+bccd_val/epoch_8.pth",
    ),
)
