# kdkit train kdkit::det/fbkd+bccd --with-teacher
"""FBKD of Zhang and Ma: attended maps, channels, positions and relations of the neck."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        fbkd=dict(
            loss=dict(type="kd_core.losses.FBKDLoss"),
            layers="neck[0:4]",
        ),
    ),
)
model["terms"]["fbkd"].update(_base_.tuned.get("fbkd", {}))
