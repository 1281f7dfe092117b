# kdkit train kdkit::cls/pkt+digits --with-teacher
"""PKT: cosine affinities of the pooled features as probabilities."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        pkt=dict(
            loss=dict(type="kd_core.losses.ProbabilisticTransferLoss"),
            layers=_base_.pool,
            weight=1.0,  # RepDistiller's 30000 is the loss's own default
        ),
    ),
)
model["terms"]["pkt"].update(_base_.tuned.get("pkt", {}))
