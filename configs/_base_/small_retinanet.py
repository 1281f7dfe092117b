"""RetinaNet on the trunk of small_detector.py, and what its head can teach.

A dataset inherits this file and the one that has its images, and takes its `model` from both; the
methods of `configs/det/dense` take their terms from `dense`.
"""

# What the student's own loss is called with: label weights, and the number of positive anchors.
targets = dict(
    label_weights="bbox_head.loss_cls.input[2]", average="bbox_head.loss_cls.input[avg_factor]"
)
dense = dict(
    optim_wrapper=dict(optimizer=dict(lr=0.01)),  # mmdet's for RetinaNet
    neck=dict(start_level=1, add_extra_convs="on_output", num_outs=4),
    model=dict(
        type="RetinaNet",
        train_cfg=dict(
            assigner=dict(
                type="MaxIoUAssigner",
                pos_iou_thr=0.5,
                neg_iou_thr=0.4,
                min_pos_iou=0,
                ignore_iof_thr=-1,
            ),
            sampler=dict(type="PseudoSampler"),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        test_cfg=dict(
            nms_pre=500,
            min_bbox_size=0,
            score_thr=0.05,
            nms=dict(type="nms", iou_threshold=0.5),
            max_per_img=100,
        ),
    ),
    bbox_head=dict(
        type="RetinaHead",
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        norm_cfg=dict(type="GN", num_groups=16),  # from scratch
        anchor_generator=dict(
            type="AnchorGenerator",
            octave_base_scale=3,  # sides from 24 pixels on, for small images
            scales_per_octave=2,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64],
        ),
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=[1.0, 1.0, 1.0, 1.0]
        ),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="L1Loss", loss_weight=1.0),
    ),
    response=dict(
        classes=dict(
            loss=dict(type="kd_core.losses.ClassResponseLoss", anchors=6), layers="bbox_head[0]"
        ),
        boxes=dict(
            loss=dict(type="kd_core.losses.BoxResponseLoss"),
            layers=dict(scores="bbox_head[0]", boxes="bbox_head[1]"),
        ),
    ),
    crosskd=dict(
        classes=dict(
            loss=dict(
                type="kd_core.cross_head.CrossHeadLoss",
                loss=dict(type="kd_core.losses.ClassResponseLoss", anchors=6),
                through=[
                    "bbox_head.cls_convs.0.activate",
                    "bbox_head.cls_convs.1",
                    "bbox_head.retina_cls",
                ],
            ),
            layers=dict(features="bbox_head.cls_convs.0.gn", scores="bbox_head[0]"),
            inputs=targets,
        ),
        boxes=dict(
            loss=dict(
                type="kd_core.cross_head.CrossHeadLoss",
                loss=dict(type="kd_core.losses.BoxResponseLoss"),
                through=[
                    "bbox_head.reg_convs.0.activate",
                    "bbox_head.reg_convs.1",
                    "bbox_head.retina_reg",
                ],
                predicts="boxes",
            ),
            layers=dict(
                features="bbox_head.reg_convs.0.gn", scores="bbox_head[0]", boxes="bbox_head[1]"
            ),
            inputs=targets,
        ),
    ),
)
