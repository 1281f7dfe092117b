# kdkit train kdkit::cls/dml+digits
"""DML: the student and the teacher's network learn from each other, both from scratch."""

_base_ = "data/digits.py"

model = dict(_delete_=True, type="kd_cls.DML", student=_base_.model, peers=[_base_.teacher])
