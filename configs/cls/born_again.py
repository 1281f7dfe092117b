# kdkit chain kdkit::cls/born_again+digits --with-teacher
"""Born-again: the student's own network, trained alone, teaches it anew, two generations long."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.student,
    terms=dict(
        kd=dict(
            loss=dict(type="kd_core.losses.SoftTargetLoss", temperature=4.0),
            layers="logits",
        ),
    ),
)
model["terms"]["kd"].update(_base_.tuned.get("kd", {}))
chain = dict(way="born_again", generations=2)
