# kdkit train kdkit::cls/at+digits --with-teacher
"""Attention transfer, on all three stages."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        at=dict(
            loss=dict(type="kd_core.losses.AttentionTransferLoss"),
            layers=_base_.stages,
            weight=1000.0,  # RepDistiller's
        ),
    ),
)
model["terms"]["at"].update(_base_.tuned.get("at", {}))
