# kdkit train kdkit::det/inherit+bccd --with-teacher
"""FPN and heads inherited from the teacher, trained before, and no distillation."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    # The laterals of the FPN stay the student's own: they read its backbone.
    inherit=["neck.fpn_convs", "rpn_head", "roi_head"],
    terms=dict(
        # A term of weight 0 is not computed: the teacher gives its weights and no more.
        imitation=dict(
            loss=dict(type="kd_core.losses.FeatureImitationLoss"), layers="neck[0:4]", weight=0.0
        ),
    ),
)
