# kdkit train kdkit::cls/hmat_kd+digits --with-teacher
"""HMAT, and soft targets: cross-entropy + KL at temperature 4."""

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
        kd=dict(
            loss=dict(type="kd_core.losses.SoftTargetLoss", temperature=4.0),
            layers="logits",
        ),
    ),
)
model["terms"]["hmat"].update(_base_.tuned.get("hmat", {}))
model["terms"]["kd"].update(_base_.tuned.get("kd", {}))
