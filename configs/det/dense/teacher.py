# kdkit train kdkit::det/dense/teacher+bccd
"""The teacher, by its own schedule."""

_base_ = "data/bccd.py"

model = _base_.teacher
optim_wrapper = _base_.teacher_optim_wrapper
train_cfg = _base_.schedules.teacher.train_cfg
param_scheduler = _base_.schedules.teacher.param_scheduler
