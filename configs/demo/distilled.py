# kdkit train kdkit::demo/distilled.py --with-teacher     (make demo runs it)
"""The demo's student with FPN and heads of demo/teacher.py, imitating its FPN's maps."""

_base_ = "_base_/digits.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    # The laterals of the FPN stay the student's own: they read its backbone.
    inherit=["neck.fpn_convs", "rpn_head", "roi_head"],
    terms=dict(
        imitation=dict(
            loss=dict(type="kd_core.losses.FeatureImitationLoss"), layers="neck[0:4]", weight=5.0
        ),
    ),
    dry_run_size=(96, 96),
)
