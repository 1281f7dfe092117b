"""BCCD blood cells (native VOC, 292 / 72 images) and a detector that a CPU can train."""

_base_ = "mmdet::_base_/models/faster-rcnn_r50_fpn.py"
default_scope = "mmdet"
custom_imports = dict(imports=["kd_det"])

data_root = "{{$KD_DATA:data}}/bccd_voc/"
classes = ("RBC", "WBC", "Platelets")
size = (320, 240)  # half of the originals, so that two cores train it in minutes

# The student: ResNet-18 at a quarter of its width, from scratch.
model = dict(
    backbone=dict(
        depth=18,
        base_channels=16,
        frozen_stages=-1,
        norm_eval=False,
        init_cfg=dict(_delete_=True, type="Kaiming", layer="Conv2d"),
    ),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(
            out_channels=64,
            finest_scale=28,  # half of mmdet's, as the images are half their size
            roi_layer=dict(sampling_ratio=2),
        ),
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=3),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=250), rcnn=dict(sampler=dict(num=128))
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=250)),
)

dataset = dict(
    type="VOCDataset",
    data_root=data_root,
    data_prefix=dict(sub_data_root=""),
    metainfo=dict(classes=classes),
)
meta_keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "instances")
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="AspectRatioBatchSampler"),
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
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
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

max_epochs = 8
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=60),
    dict(
        type="CosineAnnealingLR",
        eta_min_ratio=0.01,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2),
    logger=dict(type="LoggerHook", interval=20),
)
log_level = "INFO"
randomness = dict(seed=0)
