# kdkit train kdkit::cls/vid+digits --with-teacher
"""VID: likelihood of the teacher's maps, predicted from the student's."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        vid=dict(
            loss=dict(type="kd_core.losses.VIDLoss"),
            layers=_base_.stages,
            weight=1.0,  # RepDistiller's
        ),
    ),
)
model["terms"]["vid"].update(_base_.tuned.get("vid", {}))
