# kdkit train kdkit::det/asckd+bccd --with-teacher
"""ASCKD alone, from the neck of the teacher: it harmed on BCCD (docs/results.md)."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", loss_weight=10.0), layers="neck[0:4]"
        ),
    ),
)
model["terms"]["asckd"].update(_base_.tuned.get("asckd", {}))
