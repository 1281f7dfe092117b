# kdkit train kdkit::det/roi_two_teachers+bccd --with-teacher
"""Two teachers, the larger detector and the student's own, each weighted region by region."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teachers=dict(large=_base_.trained.teacher, own=_base_.trained.student),
    terms=dict(
        classes=dict(
            loss=dict(type="kd_core.losses.SoftTargetLoss", temperature=1.0),
            layers="roi_head.bbox_head[0]",
            teacher=["large", "own"],
            weighting="confidence",  # "entropy" needs no labels
            inputs=dict(labels="roi_head.bbox_head.loss_cls.input[1]"),
        ),
        boxes=dict(
            loss=dict(type="kd_core.losses.RegionBoxLoss"),
            layers="roi_head.bbox_head[1]",
            teacher=["large", "own"],
            weighting=dict(kind="confidence", layers="roi_head.bbox_head[0]"),
            inputs=dict(labels="roi_head.bbox_head.loss_cls.input[1]"),
        ),
    ),
)
model["terms"]["classes"].update(_base_.tuned.get("classes", {}))
model["terms"]["boxes"].update(_base_.tuned.get("boxes", {}))
