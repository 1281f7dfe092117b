# kdkit train kdkit::retrieval/dml+digits
"""DML: the student and a larger network learn from each other's similarities, from scratch."""

_base_ = "data/digits.py"

model = dict(_delete_=True, type="kd_retrieval.DML", student=_base_.model, peers=[_base_.peer])
