"""BCCD blood cells (native VOC, 292 / 72 images) and a detector that a CPU can train."""

_base_ = "../../_base_/small_detector.py"

data_root = "{{$KD_DATA:data}}/bccd_voc/"
classes = ("RBC", "WBC", "Platelets")
size = (320, 240)  # half of the originals, so that two cores train it in minutes

model = dict(
    roi_head=dict(
        bbox_roi_extractor=dict(finest_scale=28),  # half of mmdet's, as the images are
        bbox_head=dict(num_classes=3),
    ),
)

dataset = dict(
    type="VOCDataset",
    data_root=data_root,
    data_prefix=dict(sub_data_root=""),
    metainfo=dict(classes=classes),
)
meta_keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "instances")
train_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file="ImageSets/Main/trainval.txt",
        filter_cfg=dict(filter_empty_gt=True, min_size=32, bbox_min_size=1),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="Resize", scale=size, keep_ratio=True),
            dict(type="RandomFlip", prob=[0.3, 0.3], direction=["horizontal", "vertical"]),
            dict(type="PackDetInputs"),
        ],
    ),
)
test_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file="ImageSets/Main/test.txt",
        test_mode=True,
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="Resize", scale=size, keep_ratio=True),
            dict(type="LoadAnnotations", with_bbox=True),  # after Resize: boxes stay as written
            dict(type="PackDetInputs", meta_keys=meta_keys),
        ],
    ),
)
val_dataloader = test_dataloader
test_evaluator = [
    dict(type="VOCMetric", metric="mAP", eval_mode="11points"),
    dict(type="CocoMetric", metric="bbox"),  # ground truth from the VOC annotations
]
val_evaluator = test_evaluator

# Three quarters of the gradient at the first step, by kdkit calibrate; tried at no others.
tuned = dict(
    fgd=dict(weight=0.5),
    mgd=dict(weight=20.0),
    fbkd=dict(weight=12.0),
    review_kd=dict(weight=3.2),
)
epochs = dict(student=8, teacher=12)
schedules = {
    phase: dict(
        train_cfg=dict(max_epochs=number, val_interval=number),
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
trained = dict(
    teacher=dict(
        config="kdkit::det/teacher+bccd", checkpoint="work_dirs/det/teacher+bccd/epoch_12.pth"
    ),
    student=dict(
        config="kdkit::det/student+bccd",
        checkpoint="work_dirs/det/student+bccd/epoch_8.pth",
    ),
)
