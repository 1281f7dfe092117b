# kdkit train kdkit::face/cosine+orl
"""Embedding cosine: each vector points where the row of dlib's network does."""

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
    ),
)
model["terms"]["cosine"].update(_base_.tuned.get("cosine", {}))
