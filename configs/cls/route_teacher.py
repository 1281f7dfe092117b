# kdkit train kdkit::cls/route_teacher+digits
"""The teacher from scratch, all of whose checkpoints stay: for RCO."""

_base_ = "data/digits.py"

model = dict(_delete_=True, **_base_.teacher)
train_cfg = _base_.schedules.teacher.train_cfg
param_scheduler = _base_.schedules.teacher.param_scheduler
default_hooks = dict(checkpoint=dict(max_keep_ckpts=-1))
