# kdkit chain kdkit::cls/rco+digits --with-teacher
"""RCO: early checkpoints of the teacher's own training teach first, and its last one at the end."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=dict(
        config=_base_.trained.teacher.config.replace("/teacher+", "/route_teacher+"),
        checkpoint=_base_.trained.teacher.checkpoint.replace("/teacher+", "/route_teacher+"),
    ),
    terms=dict(
        kd=dict(
            loss=dict(type="kd_core.losses.SoftTargetLoss", temperature=4.0),
            layers="logits",
        ),
    ),
)
model["terms"]["kd"].update(_base_.tuned.get("kd", {}))
chain = dict(
    way="route",
    checkpoints=[f"epoch_{_base_.epochs.teacher * third // 3}.pth" for third in (1, 2)],
)
