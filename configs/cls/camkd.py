# kdkit train kdkit::cls/camkd+digits --with-teacher
"""CA-MKD: two teachers, each followed the more, the surer it is of an image's label."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.CAMKD",
    student=_base_.model,
    teachers=dict(large=_base_.trained.teacher, own=_base_.trained.student),
    beta=25.0,  # the authors' 50, and their division by the number of teachers
    layer=_base_.last,
    classifiers="network.classifier",
)
model.update(_base_.tuned.get("camkd", {}))
