# kdkit train kdkit::demo/equal_time.py     (make demo runs it)
"""The demo's student alone, trained for as long as the distilled one."""

_base_ = "_base_/digits.py"

train_cfg = _base_.schedules.equal_time.train_cfg
param_scheduler = _base_.schedules.equal_time.param_scheduler
