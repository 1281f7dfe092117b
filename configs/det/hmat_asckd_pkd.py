# kdkit train kdkit::det/hmat_asckd_pkd+bccd --with-teacher
"""HMAT, ASCKD and PKD from the neck of the teacher, trained before."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        hmat=dict(
            loss=dict(type="kd_core.losses.HMATLoss", preset="detector"),
            layers=dict(low="neck[0]", mid="neck[1:3]", high="neck[3]"),
        ),
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", loss_weight=10.0), layers="neck[0:4]"
        ),
        pkd=dict(
            loss=dict(type="kd_core.losses.PearsonFeatureLoss"), layers="neck[0:4]", weight=6.0
        ),
    ),
)
model["terms"]["hmat"].update(_base_.tuned.get("hmat", {}))
model["terms"]["asckd"].update(_base_.tuned.get("asckd", {}))
model["terms"]["pkd"].update(_base_.tuned.get("pkd", {}))
