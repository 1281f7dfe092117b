# kdkit train kdkit::cls/rkd+digits --with-teacher
"""RKD: distances and angles of the pooled features."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        distance=dict(
            loss=dict(type="kd_core.losses.RelationalDistanceLoss"),
            layers=_base_.pool,
            weight=25.0,  # RepDistiller's
        ),
        angle=dict(
            loss=dict(type="kd_core.losses.RelationalAngleLoss"),
            layers=_base_.pool,
            weight=50.0,  # RepDistiller's
        ),
    ),
)
model["terms"]["distance"].update(_base_.tuned.get("distance", {}))
model["terms"]["angle"].update(_base_.tuned.get("angle", {}))
