# kdkit train kdkit::retrieval/cosine+digits --with-teacher
"""Embedding cosine: each vector, projected to the teacher's size, points where its does."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        cosine=dict(
            loss=dict(type="kd_core.losses.EmbeddingCosineLoss", loss_weight=1.0),
            layers="embedding",
        ),
    ),
)
model["terms"]["cosine"].update(_base_.tuned.get("cosine", {}))
