# kdkit train kdkit::cls/teacher+digits
"""The teacher from scratch, by its own schedule."""

_base_ = "data/digits.py"

model = dict(_delete_=True, **_base_.teacher)
train_cfg = _base_.schedules.teacher.train_cfg
param_scheduler = _base_.schedules.teacher.param_scheduler
