# kdkit train kdkit::cls/one+digits
"""ONE: three branches after the last but one stage, and a gate that makes their ensemble."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.ONE",
    student=_base_.model,
    shared=_base_.stages[-2],
    branch=_base_.branch,
    ramp=2.0,  # epochs; the authors' 80 of 300
)
