# kdkit train kdkit::det/hmat+bccd --with-teacher
"""HMAT from the neck of the teacher, trained before; weights measured on BCCD only."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        hmat=dict(
            loss=dict(type="kd_core.losses.HMATLoss", preset="detector"),
            layers=dict(low="neck[0]", mid="neck[1:3]", high="neck[3]"),
        ),
    ),
)
model["terms"]["hmat"].update(_base_.tuned.get("hmat", {}))
