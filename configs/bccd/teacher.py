# python tools/train.py configs/bccd/teacher.py
"""ImageNet MobileNetV2 with an FPN twice as wide as the student's."""

_base_ = "../_base_/bccd.py"

model = dict(
    backbone=dict(
        _delete_=True,
        type="kd_det.TorchvisionBackbone",
        name="mobilenet_v2",
        nodes=["features.3", "features.6", "features.13", "features.17"],
        checkpoint="{{$KD_DATA:data}}/weights/mobilenet_v2_imagenet_qat_fp16.safetensors",
        frozen=4,
        norm_eval=True,
    ),
    neck=dict(in_channels=[24, 32, 96, 320], out_channels=128),
    rpn_head=dict(in_channels=128, feat_channels=128),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=128),
        bbox_head=dict(in_channels=128, fc_out_channels=512),
    ),
)
# Beyond 1e-3 the pretrained backbone is destroyed.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.05))))

max_epochs = 12
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
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
