# kdkit train kdkit::det/dense/inherit_imitation+bccd --with-teacher
"""FPN and head inherited from the teacher, trained before, and imitation of its neck."""

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
            weight=20.0,  # that of det/inherit_imitation, tried at no other here
        ),
    ),
)
model["terms"]["imitation"].update(_base_.tuned.get("imitation", {}))
