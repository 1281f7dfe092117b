# kdkit train kdkit::cls/byot+digits
"""BYOT: the earlier stages learn from the network's own last one; there is no teacher."""

_base_ = "data/digits.py"

model = dict(_delete_=True, type="kd_cls.BYOT", student=_base_.model, pooled=_base_.pool)
