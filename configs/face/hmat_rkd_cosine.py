# kdkit train kdkit::face/hmat_rkd_cosine+orl --with-teacher
"""HMAT of the larger network's maps; distances, angles and directions of dlib's rows."""

_base_ = "data/orl.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student=_base_.model,
    teachers=dict(large=_base_.trained.teacher, dlib=_base_.trained.dlib),
    terms=dict(
        hmat=dict(
            loss=dict(type="kd_core.losses.HMATLoss", preset="embedder"),
            layers=_base_.layers,
            teacher="large",
        ),
        cosine=dict(
            loss=dict(type="kd_core.losses.EmbeddingCosineLoss", loss_weight=1.0),
            layers="embedding",
            teacher="dlib",
        ),
        distance=dict(
            loss=dict(type="kd_core.losses.RelationalDistanceLoss", loss_weight=10.0),
            layers="embedding",
            teacher="dlib",
        ),
        angle=dict(
            loss=dict(type="kd_core.losses.RelationalAngleLoss", loss_weight=20.0),
            layers="embedding",
            teacher="dlib",
        ),
    ),
)
for name in model["terms"]:
    model["terms"][name].update(_base_.tuned.get(name, {}))
