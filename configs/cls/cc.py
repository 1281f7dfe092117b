# kdkit train kdkit::cls/cc+digits --with-teacher
"""Correlation congruence of the pooled features."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        cc=dict(
            loss=dict(type="kd_core.losses.CorrelationCongruenceLoss"),
            layers=_base_.pool,
            weight=100.0,  # ours; RepDistiller's 0.02 is of another formula
        ),
    ),
)
model["terms"]["cc"].update(_base_.tuned.get("cc", {}))
