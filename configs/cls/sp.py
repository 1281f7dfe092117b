# kdkit train kdkit::cls/sp+digits --with-teacher
"""Similarity preserving: the Gram matrix of the batch, on the last stage."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        sp=dict(
            loss=dict(type="kd_core.losses.SimilarityPreservingLoss"),
            layers=_base_.stages[-1],
            weight=3000.0,  # RepDistiller's
        ),
    ),
)
model["terms"]["sp"].update(_base_.tuned.get("sp", {}))
