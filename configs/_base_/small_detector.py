"""A Faster R-CNN from scratch that a CPU can train, and how its datasets are loaded."""

_base_ = [
    "mmdet::_base_/models/faster-rcnn_r50_fpn.py",
    "default_runtime.py",
    "mobilenet_v2.py",
]
default_scope = "mmdet"
custom_imports = dict(imports=["kd_det"])

tuned = dict()  # settings of terms that a dataset has of its own: term to what replaces a method's

# The student: ResNet-18 at a quarter of its width.
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
        bbox_roi_extractor=dict(out_channels=64, roi_layer=dict(sampling_ratio=2)),
        bbox_head=dict(in_channels=64, fc_out_channels=256),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=250), rcnn=dict(sampler=dict(num=128))
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=250)),
)
# Settings of the teacher that differ: ImageNet's MobileNetV2. Neck and heads are as wide as the
# student's, so that the student can inherit them.
teacher = dict(
    backbone=dict(
        _delete_=True,
        type="kd_det.TorchvisionBackbone",
        name="mobilenet_v2",
        nodes=["features.3", "features.6", "features.13", "features.17"],
        checkpoint=_base_.mobilenet_v2,
        frozen=4,
        norm_eval=True,
    ),
    neck=dict(in_channels=[24, 32, 96, 320]),
)
# Beyond 1e-3 the pretrained backbone is destroyed.
teacher_optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.05))))

train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="AspectRatioBatchSampler"),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
)
val_dataloader = test_dataloader

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=10.0),
)
default_hooks = dict(logger=dict(interval=20))
