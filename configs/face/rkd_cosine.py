# kdkit train kdkit::face/rkd_cosine+orl
"""RKD and cosine: distances, angles and directions of the rows of dlib's network."""

_base_ = "data/orl.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student=_base_.model,
    teacher=_base_.trained.dlib,
    terms=dict(
        cosine=dict(
            loss=dict(type="kd_core.losses.EmbeddingCosineLoss", loss_weight=1.0),
            layers="embedding",
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
for name in model["terms"]:
    model["terms"][name].update(_base_.tuned.get(name, {}))
