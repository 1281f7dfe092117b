"""GFL on the trunk of small_detector.py, and what its head can teach, LD among it.

A dataset inherits this file and the one that has its images, and takes its `model` from both; the
methods of `configs/det/dense` take their terms from `dense`.
"""

# What the student's own loss is called with: label weights, and the number of positive anchors.
targets = dict(
    label_weights="bbox_head.loss_cls.input[weight]", average="bbox_head.loss_cls.input[avg_factor]"
)
dense = dict(
    optim_wrapper=dict(optimizer=dict(lr=0.01)),  # mmdet's for GFL
    neck=dict(start_level=1, add_extra_convs="on_output", num_outs=4),
    model=dict(
        type="GFL",
        train_cfg=dict(
            assigner=dict(type="ATSSAssigner", topk=9),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        test_cfg=dict(
            nms_pre=500,
            min_bbox_size=0,
            score_thr=0.05,
            nms=dict(type="nms", iou_threshold=0.6),
            max_per_img=100,
        ),
    ),
    bbox_head=dict(
        type="GFLHead",
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        norm_cfg=dict(type="GN", num_groups=16),
        reg_max=16,
        anchor_generator=dict(
            type="AnchorGenerator",
            ratios=[1.0],
            octave_base_scale=4,  # half of mmdet's, as the images are small
            scales_per_octave=1,
            strides=[8, 16, 32, 64],
        ),
        loss_cls=dict(type="QualityFocalLoss", use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_dfl=dict(type="DistributionFocalLoss", loss_weight=0.25),
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
    ),
    response=dict(
        classes=dict(loss=dict(type="kd_core.losses.ClassResponseLoss"), layers="bbox_head[0]"),
        boxes=dict(  # localization distillation
            loss=dict(type="kd_core.losses.DistributionResponseLoss", temperature=10.0),
            layers=dict(scores="bbox_head[0]", boxes="bbox_head[1]"),
        ),
        region=dict(  # the same, of anchors near a box that are not positive
            loss=dict(
                type="kd_core.losses.LocalizationRegionLoss",
                strides=[8, 16, 32, 64],
                anchor_scale=4.0,
                loss_weight=0.25,  # a quarter of that of boxes, the authors' proportion
            ),
            layers=dict(scores="bbox_head[0]", boxes="bbox_head[1]"),
        ),
    ),
    crosskd=dict(
        classes=dict(
            loss=dict(
                type="kd_core.cross_head.CrossHeadLoss",
                loss=dict(type="kd_core.losses.ClassResponseLoss"),
                through=[
                    "bbox_head.cls_convs.0.activate",
                    "bbox_head.cls_convs.1",
                    "bbox_head.gfl_cls",
                ],
            ),
            layers=dict(features="bbox_head.cls_convs.0.gn", scores="bbox_head[0]"),
            inputs=targets,
        ),
        boxes=dict(
            loss=dict(
                type="kd_core.cross_head.CrossHeadLoss",
                loss=dict(
                    type="kd_core.losses.DistributionResponseLoss",
                    temperature=1.0,
                    loss_weight=4.0,  # the authors'
                ),
                through=[
                    "bbox_head.reg_convs.0.activate",
                    "bbox_head.reg_convs.1",
                    "bbox_head.gfl_reg",
                    "bbox_head.scales.{level}",
                ],
                predicts="boxes",
            ),
            layers=dict(
                features="bbox_head.reg_convs.0.gn", scores="bbox_head[0]", boxes="bbox_head[1]"
            ),
            inputs=dict(label_weights=targets["label_weights"]),
        ),
    ),
)
