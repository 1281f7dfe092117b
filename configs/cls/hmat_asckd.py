# kdkit train kdkit::cls/hmat_asckd+digits --with-teacher
"""HMAT, and ASCKD's relations between the samples of a batch."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        hmat=dict(
            loss=dict(
                type="kd_core.losses.HMATLoss",
                preset="classifier",
                options=dict(position=dict(side=8)),  # of 32-pixel images; 16 is for larger ones
            ),
            layers=dict(low=_base_.stages[0], mid=_base_.stages[1], high=_base_.stages[-1]),
        ),
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", relation="centered", loss_weight=0.3),
            layers=_base_.stages,
        ),
    ),
)
model["terms"]["hmat"].update(_base_.tuned.get("hmat", {}))
model["terms"]["asckd"].update(_base_.tuned.get("asckd", {}))
