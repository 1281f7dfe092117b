# kdkit train kdkit::cls/dist+digits --with-teacher
"""DIST: correlation of class probabilities."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        dist=dict(
            loss=dict(
                type="kd_core.losses.DISTLoss", inter_weight=2.0, intra_weight=2.0, temperature=4.0
            ),
            layers="logits",
            weight=1.0,  # the authors' on CIFAR-100
        ),
    ),
)
model["terms"]["dist"].update(_base_.tuned.get("dist", {}))
