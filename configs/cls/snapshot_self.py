# kdkit train kdkit::cls/snapshot_self+digits
"""Self-distillation: a copy of the student, taken every second epoch, is its teacher."""

_base_ = "data/digits.py"

model = dict(_delete_=True, type="kd_cls.SelfTeacher", student=_base_.model, every=2)
