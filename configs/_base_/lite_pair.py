"""EfficientNet-Lite2 and Lite0 with their ImageNet weights, under the FPN of small_detector.py.

`kdkit fetch efficientnet-lite` gets the weights. A dataset inherits this file and the one that has
its images, and takes its `model`, `teacher` and schedules from `lite`.
"""

lite = {
    role: dict(
        data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
        backbone=dict(
            _delete_=True,
            type="kd_det.TimmBackbone",
            name=name,
            nodes=["blocks.1", "blocks.2", "blocks.4", "blocks.6"],
            checkpoint="{{$KD_DATA:data}}/weights/" + name + "_imagenet_fp16.safetensors",
            frozen=["conv_stem", "bn1", "blocks.0", "blocks.1"],
            norm_eval=True,
        ),
        neck=dict(in_channels=channels),
    )
    for role, name, channels in (
        ("student", "tf_efficientnet_lite0", [24, 40, 112, 320]),
        ("teacher", "tf_efficientnet_lite2", [24, 48, 120, 352]),
    )
}
# Pretrained backbones need fewer epochs than those from scratch.
lite["schedules"] = {
    role: dict(
        train_cfg=dict(max_epochs=number, val_interval=number),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=30),
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
    for role, number in (("student", 4), ("teacher", 8))
}
