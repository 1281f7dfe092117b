# kdkit train kdkit::det/ema_self+bccd
"""Self-distillation: the average of the detector's own weights teaches its neck and ROI head."""

_base_ = "data/bccd.py"

# Earlier, the average holds the student back.
late = dict(begin=0.5, end=0.75, unit="share")

model = dict(
    _delete_=True,
    type="kd_det.SelfTeacher",
    student=_base_.model,
    momentum=0.9,  # an average over about 10 steps: the runs here have a few hundred
    terms=dict(
        imitation=dict(
            loss=dict(type="kd_core.losses.FeatureImitationLoss"),
            layers="neck[0:4]",
            normalize="batch",
            weight=5.0,
            schedule=dict(type="kd_core.schedules.LinearWarmup", **late),
        ),
        classes=dict(
            loss=dict(type="kd_core.losses.SoftTargetLoss", temperature=1.0),
            layers="roi_head.bbox_head[0]",
            schedule=dict(type="kd_core.schedules.LinearWarmup", **late),
        ),
    ),
)
model["terms"]["imitation"].update(_base_.tuned.get("imitation", {}))
model["terms"]["classes"].update(_base_.tuned.get("classes", {}))
