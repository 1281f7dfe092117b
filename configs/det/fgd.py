# kdkit train kdkit::det/fgd+bccd --with-teacher
"""FGD: the neck's maps in and outside of boxes, their attention and relations."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        fgd=dict(
            loss=dict(type="kd_core.losses.FGDLoss", preset="two_stage"),
            layers="neck[0:4]",
        ),
    ),
)
model["terms"]["fgd"].update(_base_.tuned.get("fgd", {}))
