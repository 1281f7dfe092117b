# kdkit train kdkit::cls/ccskd+digits --with-teacher
"""CCSKD: selective soft targets, channel distillation and channel relations."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.CCSKD",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    schedule=_base_.ccskd,
)
