# kdkit train kdkit::retrieval/camkd+digits --with-teacher
"""CA-MKD: two teachers, each followed the more, the surer it is of an image's class."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.CAMKD",
    student=_base_.model,
    teachers=dict(large=_base_.trained.teacher, own=_base_.trained.student),
)
