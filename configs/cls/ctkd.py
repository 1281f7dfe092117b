# kdkit train kdkit::cls/ctkd+digits --with-teacher
"""CTKD: a teacher trained alongside the student gives its logits, an expert its attention."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.CTKD",
    student=_base_.model,
    scratch=_base_.teacher,
    teacher=_base_.trained.teacher,
    gamma=0.03,
    beta=1000.0,
)
