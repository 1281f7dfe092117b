# kdkit train kdkit::cls/ema_self+digits
"""Self-distillation: the running average of the student's weights is its teacher."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.SelfTeacher",
    student=_base_.model,
    momentum=0.99,  # an average over about 100 steps: the runs here have a few hundred
)
