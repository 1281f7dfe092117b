# kdkit train kdkit::cls/pskd+digits
"""PS-KD: labels are mixed with what the student predicted for the image an epoch ago."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.PSKD",
    student=_base_.model,
    samples=_base_.samples,
    alpha=0.8,  # the authors'
)
