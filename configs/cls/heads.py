# kdkit train kdkit::cls/heads+digits --with-teacher
"""Heads after the stages of the trained teacher, which is frozen: first phase of MSKD-SSR."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.TeacherHeads",
    student=_base_.teacher,
    pretrained=_base_.trained.teacher,
)
train_cfg = _base_.schedules.heads.train_cfg
param_scheduler = _base_.schedules.heads.param_scheduler
