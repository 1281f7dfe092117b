# kdkit train kdkit::cls/srrl+digits --with-teacher
"""SRRL: the teacher's classifier reads the student's last map, and must find the same in it."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        srrl=dict(
            loss=dict(type="kd_core.losses.SRRLLoss", classifier="network.classifier"),
            layers=_base_.last,
        ),
    ),
)
model["terms"]["srrl"].update(_base_.tuned.get("srrl", {}))
