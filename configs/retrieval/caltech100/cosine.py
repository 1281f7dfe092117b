# python tools/train.py configs/retrieval/caltech100/cosine.py
"""Embedding cosine: each vector, projected to the teacher's size, points where its does."""

_base_ = "../../_base_/retrieval_caltech100.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::retrieval/caltech100/teacher.py", checkpoint=None, precision="bfloat16"
    ),
    terms=dict(
        cosine=dict(
            loss=dict(type="kd_core.losses.EmbeddingCosineLoss", loss_weight=1.0),
            layers="embedding",
        ),
    ),
)
