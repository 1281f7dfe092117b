# kdkit chain kdkit::cls/takd+digits --with-teacher
"""TAKD: the teacher teaches a network of middle size, and that the student. Soft targets."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        kd=dict(
            loss=dict(type="kd_core.losses.SoftTargetLoss", temperature=4.0),
            layers="logits",
        ),
    ),
)
model["terms"]["kd"].update(_base_.tuned.get("kd", {}))
chain = dict(
    way="assistants",
    assistants=[dict(name=_base_.assistant.network.name, model=_base_.assistant)],
)
