"""RTMDet's head on the trunk of small_detector.py, and what it can teach.

A dataset inherits this file and the one that has its images, and takes its `model` from both; the
methods of `configs/det/dense` take their terms from `dense`.
"""

strides = [8, 16, 32, 64]
# Label weights of the student's own loss; its divisor comes after the call.
targets = dict(label_weights="bbox_head.loss_cls.input[2]")
dense = dict(
    # mmdet's optimizer, at a learning rate for batches of 8
    optim_wrapper=dict(
        optimizer=dict(_delete_=True, type="AdamW", lr=1e-3, weight_decay=0.05),
        paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True),
    ),
    neck=dict(start_level=1, add_extra_convs="on_output", num_outs=4),
    model=dict(
        type="RTMDet",
        train_cfg=dict(
            assigner=dict(type="DynamicSoftLabelAssigner", topk=13),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        test_cfg=dict(
            nms_pre=500,
            min_bbox_size=0,
            score_thr=0.05,
            nms=dict(type="nms", iou_threshold=0.65),
            max_per_img=100,
        ),
    ),
    bbox_head=dict(
        type="RTMDetSepBNHead",
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        share_conv=True,
        pred_kernel_size=1,
        exp_on_reg=True,
        with_objectness=False,
        norm_cfg=dict(type="BN"),
        act_cfg=dict(type="SiLU", inplace=True),
        anchor_generator=dict(type="MlvlPointGenerator", offset=0, strides=strides),
        bbox_coder=dict(type="DistancePointBBoxCoder"),
        loss_cls=dict(type="QualityFocalLoss", use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
    ),
    response=dict(
        classes=dict(loss=dict(type="kd_core.losses.ClassResponseLoss"), layers="bbox_head[0]"),
        boxes=dict(
            loss=dict(type="kd_core.losses.BoxResponseLoss", form="distance"),
            layers=dict(scores="bbox_head[0]", boxes="bbox_head[1]"),
        ),
    ),
    crosskd=dict(
        classes=dict(
            loss=dict(
                type="kd_core.cross_head.CrossHeadLoss",
                loss=dict(type="kd_core.losses.ClassResponseLoss"),
                through=[
                    "bbox_head.cls_convs.{level}.0.activate",
                    "bbox_head.cls_convs.{level}.1",
                    "bbox_head.rtm_cls.{level}",
                ],
            ),
            layers=dict(
                features=[f"bbox_head.cls_convs.{level}.0.bn" for level in range(len(strides))],
                scores="bbox_head[0]",
            ),
            inputs=targets,
        ),
        boxes=dict(
            loss=dict(
                type="kd_core.cross_head.CrossHeadLoss",
                loss=dict(type="kd_core.losses.BoxResponseLoss", form="log_distance"),
                through=[
                    "bbox_head.reg_convs.{level}.0.activate",
                    "bbox_head.reg_convs.{level}.1",
                    "bbox_head.rtm_reg.{level}",
                ],
                predicts="boxes",
            ),
            layers=dict(
                features=[f"bbox_head.reg_convs.{level}.0.bn" for level in range(len(strides))],
                scores="bbox_head[0]",
                boxes=[f"bbox_head.rtm_reg.{level}" for level in range(len(strides))],
            ),
            inputs=targets,
        ),
    ),
)
