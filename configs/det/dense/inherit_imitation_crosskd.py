# kdkit train kdkit::det/dense/inherit_imitation_crosskd+bccd --with-teacher
"""FPN and head inherited from the teacher, trained before, imitation of its neck, and CrossKD."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    # The laterals of the FPN stay the student's own: they read its backbone.
    inherit=["neck.fpn_convs", "bbox_head"],
    terms=dict(
        imitation=dict(
            loss=dict(type="kd_core.losses.FeatureImitationLoss"),
            layers="neck[0:4]",
            normalize="batch",  # the weight does not depend on the teacher's scale
            weight=20.0,
        ),
        **_base_.dense.crosskd,
    ),
)
model["terms"]["imitation"].update(_base_.tuned.get("imitation", {}))
model["terms"]["classes"].update(_base_.tuned.get("classes", {}))
model["terms"]["boxes"].update(_base_.tuned.get("boxes", {}))
