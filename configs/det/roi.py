# kdkit train kdkit::det/roi+bccd --with-teacher
"""Class scores, boxes and features of regions: the teacher's ROI head on the student's boxes."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        classes=dict(
            loss=dict(type="kd_core.losses.SoftTargetLoss", temperature=1.0),
            layers="roi_head.bbox_head[0]",
        ),
        boxes=dict(
            loss=dict(type="kd_core.losses.RegionBoxLoss"),
            layers="roi_head.bbox_head[1]",
            inputs=dict(labels="roi_head.bbox_head.loss_cls.input[1]"),
        ),
        regions=dict(
            loss=dict(type="kd_core.losses.FeatureImitationLoss"),
            layers="roi_head.bbox_roi_extractor",
            normalize="batch",
        ),
    ),
)
model["terms"]["classes"].update(_base_.tuned.get("classes", {}))
model["terms"]["boxes"].update(_base_.tuned.get("boxes", {}))
model["terms"]["regions"].update(_base_.tuned.get("regions", {}))
