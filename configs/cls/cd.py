# kdkit train kdkit::cls/cd+digits --with-teacher
"""Channel distillation: channel means of all three stages."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        cd=dict(
            loss=dict(type="kd_core.losses.ChannelDistillationLoss"),
            layers=_base_.stages,
            weight=6.0,  # as in the code of CCSKD
        ),
    ),
)
model["terms"]["cd"].update(_base_.tuned.get("cd", {}))
