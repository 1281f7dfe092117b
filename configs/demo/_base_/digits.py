"""The built-in digits (COCO JSON) and a detector that a core trains in about a minute.

`make demo` makes the data; by hand:
python tools/make_digits.py --out work_dirs/demo/data/digits
"""

_base_ = "../../_base_/small_detector.py"

data_root = "work_dirs/demo/data/digits/"
classes = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
size = (96, 96)

# The student: ResNet-18 at an eighth of its width, from scratch; FPN and heads as the teacher's.
model = dict(
    backbone=dict(
        base_channels=8,
    ),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=48),
    rpn_head=dict(in_channels=48, feat_channels=48),
    roi_head=dict(
        bbox_roi_extractor=dict(
            out_channels=48,
            finest_scale=56,  # all digits on the finest map: their strokes are a few pixels wide
            roi_layer=dict(sampling_ratio=1),  # a bin is about one cell of the map
        ),
        bbox_head=dict(in_channels=48, fc_out_channels=192, num_classes=10),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=48, pos_fraction=0.5)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100)),
)

train_dataloader = dict(
    dataset=dict(
        type="CocoDataset",
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file="annotations/instances_train.json",
        data_prefix=dict(img="JPEGImages/"),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="Resize", scale=size, keep_ratio=True),
            dict(type="PackDetInputs"),  # no flip: a mirrored digit is another sign
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(
        type="CocoDataset",
        data_root=data_root,
        metainfo=dict(classes=classes),
        ann_file="annotations/instances_val.json",
        data_prefix=dict(img="JPEGImages/"),
        test_mode=True,
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=size, keep_ratio=True),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(
                type="PackDetInputs",
                meta_keys=(
                    "img_id",
                    "img_path",
                    "ori_shape",
                    "img_shape",
                    "scale_factor",
                    "instances",
                ),
            ),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type="CocoMetric", metric="bbox", ann_file=data_root + "annotations/instances_val.json"
)
test_evaluator = val_evaluator

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=2e-3, weight_decay=1e-2),
)
default_hooks = dict(logger=dict(interval=10))

# equal_time: as many epochs of the student alone as the distilled one takes.
epochs = dict(student=12, equal_time=15, teacher=12)
schedules = {
    phase: dict(
        train_cfg=dict(max_epochs=number, val_interval=3),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=60),
            dict(
                type="CosineAnnealingLR",
                eta_min_ratio=0.01,
                by_epoch=True,
                begin=0,
                end=number,
                convert_to_iter_based=True,
            ),
        ],
    )
    for phase, number in epochs.items()
}
train_cfg = schedules["student"]["train_cfg"]
param_scheduler = schedules["student"]["param_scheduler"]

# Settings of the teacher that differ: three times the student's width.
teacher = dict(
    _delete_=True,
    backbone=dict(base_channels=24),
    neck=dict(in_channels=[24, 48, 96, 192]),
)
teacher_optim_wrapper = dict(_delete_=True)
trained = dict(
    teacher=dict(config="kdkit::demo/teacher.py", checkpoint="work_dirs/demo/teacher/epoch_12.pth"),
)
