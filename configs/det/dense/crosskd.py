# kdkit train kdkit::det/dense/crosskd+bccd --with-teacher
"""CrossKD: the student's features go through the rest of the teacher's head."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=_base_.dense.crosskd,
)
model["terms"]["classes"].update(_base_.tuned.get("classes", {}))
model["terms"]["boxes"].update(_base_.tuned.get("boxes", {}))
