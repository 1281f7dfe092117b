# kdkit train kdkit::cls/fitnets+digits --with-teacher
"""FitNets: the middle stage's map, from the start of training."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        fitnets=dict(
            loss=dict(type="kd_core.losses.FeatureImitationLoss"),
            layers=_base_.stages[1],
            weight=100.0,  # RepDistiller's
        ),
    ),
)
model["terms"]["fitnets"].update(_base_.tuned.get("fitnets", {}))
