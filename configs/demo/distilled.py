# kdkit train kdkit::demo/distilled.py --with-teacher     (make demo runs it)
"""The demo's student with HMAT and ASCKD from the neck of demo/teacher.py."""

_base_ = "_base_/digits.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    # Distil first, then leave the last six of the fourteen epochs to the task.
    terms=dict(
        hmat=dict(
            loss=dict(type="kd_core.losses.HMATLoss", preset="detector"),
            layers=dict(low="neck[0]", mid="neck[1:3]", high="neck[3]"),
            schedule=dict(type="kd_core.schedules.LinearDecay", begin=0, end=8, unit="epoch"),
        ),
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", loss_weight=10.0),
            layers="neck[0:4]",
            schedule=dict(type="kd_core.schedules.LinearDecay", begin=0, end=8, unit="epoch"),
        ),
    ),
    dry_run_size=(96, 96),
)
