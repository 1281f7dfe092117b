# kdkit train kdkit::cls/kd_standardized+digits --with-teacher
"""Logit standardization: soft targets of z-scored logits, at temperature 2."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    # 0.1, temperature 2 and weight 9: the authors' configs of most pairs
    student=dict(_base_.model, loss_weight=0.1),
    teacher=_base_.trained.teacher,
    terms=dict(
        kd=dict(
            loss=dict(type="kd_core.losses.SoftTargetLoss", temperature=2.0, loss_weight=9.0),
            layers="logits",
            normalize="logits",
        ),
    ),
)
model["terms"]["kd"].update(_base_.tuned.get("kd_standardized", {}))
