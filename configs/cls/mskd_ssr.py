# kdkit train kdkit::cls/mskd_ssr+digits --with-teacher
"""MSKD-SSR: each stage learns from the teacher's, and from the student's next one."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.MSKDSSR",
    student=_base_.model,
    teacher=_base_.trained.heads,
)
