# kdkit train kdkit::retrieval/rkd+digits --with-teacher
"""RKD: distances and angles between the embeddings of a batch."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
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
model["terms"]["distance"].update(_base_.tuned.get("distance", {}))
model["terms"]["angle"].update(_base_.tuned.get("angle", {}))
