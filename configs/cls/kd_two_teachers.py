# kdkit train kdkit::cls/kd_two_teachers+digits --with-teacher
"""Two teachers: soft targets of the larger network and of the student's own, trained alone."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teachers=dict(large=_base_.trained.teacher, own=_base_.trained.student),
    terms=dict(
        kd=dict(
            loss=dict(type="kd_core.losses.SoftTargetLoss", temperature=4.0),
            layers="logits",
            teacher=[
                "large",
                "own",
            ],  # half the weight for each; dict(large=0.7, own=0.3) for others
        ),
    ),
)
