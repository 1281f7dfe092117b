# kdkit chain kdkit::cls/dgkd+digits --with-teacher
"""DGKD: assistants and student learn from all networks before them, some left out at random."""

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
    way="dense",
    assistants=[dict(name=_base_.assistant.network.name, model=_base_.assistant)],
    drop=0.5,
)
