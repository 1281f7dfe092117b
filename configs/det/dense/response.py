# kdkit train kdkit::det/dense/response+bccd --with-teacher
"""Class scores and boxes of the teacher's one-stage head."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=_base_.dense.response,
)
model["terms"]["classes"].update(_base_.tuned.get("classes", {}))
model["terms"]["boxes"].update(_base_.tuned.get("boxes", {}))
