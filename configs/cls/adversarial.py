# kdkit train kdkit::cls/adversarial+digits --with-teacher
"""Adversarial: soft targets, and a discriminator of the logits of student and teacher."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.Adversarial",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    weight=0.1,
    ramp=2.0,
)
