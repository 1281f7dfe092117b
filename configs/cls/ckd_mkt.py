# kdkit train kdkit::cls/ckd_mkt+digits --with-teacher
"""CKD-MKT: the student and the teacher's network, each trained alone before, teach each other."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.CKDMKT",
    student=_base_.model,
    pretrained=_base_.trained.student,
    peers=[_base_.trained.peer],
    layer=_base_.pool,
)
