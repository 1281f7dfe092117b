# kdkit train kdkit::cls/crd+digits --with-teacher
"""CRD: contrast of the pooled features with a memory bank."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        crd=dict(
            # RepDistiller has 16384 negatives of 50,000 samples
            loss=dict(type="kd_core.losses.CRDLoss", samples=_base_.samples, negatives=1024),
            layers=_base_.pool,
            weight=0.8,  # RepDistiller's
        ),
    ),
)
model["terms"]["crd"].update(_base_.tuned.get("crd", {}))
