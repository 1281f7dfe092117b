# kdkit train kdkit::cls/asckd+digits --with-teacher
"""ASCKD: relations between the samples of a batch, on attention maps of all three stages."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", relation="centered", loss_weight=0.3),
            layers=_base_.stages,
        ),
    ),
)
model["terms"]["asckd"].update(_base_.tuned.get("asckd", {}))
