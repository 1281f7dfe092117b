# kdkit train kdkit::retrieval/teacher+digits
"""The teacher by its own schedule; that of caltech100 is evaluated as it is.

Its recall@K is printed by ``kdkit test retrieval/rkd+caltech100 --teacher``.
"""

_base_ = "data/digits.py"

model = dict(_delete_=True, **_base_.teacher)
train_cfg = _base_.schedules.teacher.train_cfg
param_scheduler = _base_.schedules.teacher.param_scheduler
