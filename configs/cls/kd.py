# kdkit train kdkit::cls/kd+digits --with-teacher
"""Soft targets: cross-entropy + KL at temperature 4."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=dict(_base_.model, **_base_.tuned.get("student_of_kd", {})),
    teacher=_base_.trained.teacher,
    terms=dict(
        kd=dict(
            loss=dict(type="kd_core.losses.SoftTargetLoss", temperature=4.0),
            layers="logits",
        ),
    ),
)
model["terms"]["kd"].update(_base_.tuned.get("kd", {}))
