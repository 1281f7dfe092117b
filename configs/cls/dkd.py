# kdkit train kdkit::cls/dkd+digits --with-teacher
"""DKD: the target class and the others apart."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        dkd=dict(
            # weights 1 and 8: the default of the authors' code (mdistiller), without its warm-up
            loss=dict(
                type="kd_core.losses.DKDLoss", target_weight=1.0, others_weight=8.0, temperature=4.0
            ),
            layers="logits",
        ),
    ),
)
model["terms"]["dkd"].update(_base_.tuned.get("dkd", {}))
