# kdkit train kdkit::face/heads+orl --with-teacher
"""Heads after the stages of the larger network, which is frozen: first phase of MSKD-SSR."""

_base_ = "data/orl.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.TeacherHeads",
    student=_base_.teacher,
    pretrained=_base_.trained.teacher,
    layers=_base_.teacher_stages,
)
train_cfg = _base_.schedules.heads.train_cfg
param_scheduler = _base_.schedules.heads.param_scheduler
