# kdkit train kdkit::retrieval/hmat_asckd_rkd+digits --with-teacher
"""HMAT, ASCKD and RKD together."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        hmat=dict(
            loss=dict(type="kd_core.losses.HMATLoss", preset="embedder"),
            layers=_base_.layers,
        ),
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", loss_weight=25.0),
            layers=[*_base_.layers.mid, _base_.layers.high],
        ),
        distance=dict(
            loss=dict(type="kd_core.losses.RelationalDistanceLoss", loss_weight=10.0),
            layers="embedding",
        ),
        angle=dict(
            loss=dict(type="kd_core.losses.RelationalAngleLoss", loss_weight=20.0),
            layers="embedding",
        ),
    ),
)
model["terms"]["hmat"].update(_base_.tuned.get("hmat", {}))
model["terms"]["asckd"].update(_base_.tuned.get("asckd", {}))
model["terms"]["distance"].update(_base_.tuned.get("distance", {}))
model["terms"]["angle"].update(_base_.tuned.get("angle", {}))
