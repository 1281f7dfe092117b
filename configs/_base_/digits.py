"""The built-in digits (COCO JSON) and a detector that two cores train in about two minutes.

`make demo` makes the data; by hand:
python tools/make_digits.py --out work_dirs/demo/data/digits
"""

_base_ = "mmdet::_base_/models/faster-rcnn_r50_fpn.py"
default_scope = "mmdet"
custom_imports = dict(imports=["kd_det"])

data_root = "work_dirs/demo/data/digits/"
classes = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
size = (96, 96)

# The student: ResNet-18 at an eighth of its width, from scratch.
model = dict(
    backbone=dict(
        depth=18,
        base_channels=8,
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=dict(_delete_=True, type="Kaiming", layer="Conv2d"),
    ),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=32),
    rpn_head=dict(in_channels=32, feat_channels=32, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(
            out_channels=32,
            finest_scale=56,  # all digits on the finest map: their strokes are a few pixels wide
            roi_layer=dict(sampling_ratio=1),  # a bin is about one cell of the map
        ),
        bbox_head=dict(in_channels=32, fc_out_channels=128, num_classes=10),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=48, pos_fraction=0.5)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100)),
)

train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="AspectRatioBatchSampler"),
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
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
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

max_epochs = 14
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=2)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=1e-2),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=60),
    dict(type="CosineAnnealingLR", eta_min_ratio=0.01, by_epoch=True, begin=0, end=max_epochs,
         convert_to_iter_based=True),
]  # fmt: skip
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2),
    logger=dict(type="LoggerHook", interval=10),
)
log_level = "INFO"
randomness = dict(seed=0)
