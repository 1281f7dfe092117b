# kdkit train kdkit::det/pkd+bccd --with-teacher
"""PKD: the neck's maps, standardized, imitate those of the teacher, trained before."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        pkd=dict(
            loss=dict(type="kd_core.losses.PearsonFeatureLoss"), layers="neck[0:4]", weight=6.0
        ),
    ),
)
model["terms"]["pkd"].update(_base_.tuned.get("pkd", {}))
