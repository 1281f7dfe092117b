# kdkit train kdkit::demo/teacher.py     (make demo runs it)
"""The demo's teacher: ResNet-18 at three times the student's width."""

_base_ = "_base_/digits.py"

model = _base_.teacher
train_cfg = _base_.schedules.teacher.train_cfg
param_scheduler = _base_.schedules.teacher.param_scheduler
