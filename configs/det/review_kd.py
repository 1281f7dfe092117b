# kdkit train kdkit::det/review_kd+bccd --with-teacher
"""ReviewKD: the neck's levels, fused from coarse to fine, imitate the teacher's."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        review_kd=dict(
            loss=dict(type="kd_core.losses.ReviewKDLoss", width=64),  # the neck's
            layers="neck[0:4]",
        ),
    ),
)
model["terms"]["review_kd"].update(_base_.tuned.get("review_kd", {}))
