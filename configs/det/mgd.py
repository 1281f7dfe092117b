# kdkit train kdkit::det/mgd+bccd --with-teacher
"""MGD: the teacher's maps are generated from masked maps of the student's neck."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        mgd=dict(
            loss=dict(type="kd_core.losses.MGDLoss", preset="two_stage"),
            layers="neck[0:4]",
        ),
    ),
)
model["terms"]["mgd"].update(_base_.tuned.get("mgd", {}))
