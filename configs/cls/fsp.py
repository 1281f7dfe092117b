# kdkit train kdkit::cls/fsp+digits --with-teacher
"""FSP: channel products of consecutive stages, alongside the task from the start."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        fsp=dict(
            loss=dict(type="kd_core.losses.FlowOfSolutionProcedureLoss"),
            layers=[_base_.stem, *_base_.stages],
            weight=50.0,  # RepDistiller's script; its code has 30 epochs of FSP alone instead
        ),
    ),
)
model["terms"]["fsp"].update(_base_.tuned.get("fsp", {}))
