# kdkit train kdkit::det/imitation+bccd --with-teacher
"""Imitation: the neck's maps are drawn to those of the teacher, trained before."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        imitation=dict(
            loss=dict(type="kd_core.losses.FeatureImitationLoss"),
            layers="neck[0:4]",
            normalize="batch",  # the weight does not depend on the teacher's scale
            weight=5.0,
        ),
    ),
)
model["terms"]["imitation"].update(_base_.tuned.get("imitation", {}))
