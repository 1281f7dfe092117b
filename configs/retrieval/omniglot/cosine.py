# python tools/train.py configs/retrieval/omniglot/cosine.py
"""Embedding cosine: each vector, projected to the teacher's size, points where its does."""

_base_ = "../../_base_/retrieval_omniglot.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::retrieval/omniglot/teacher.py",
        checkpoint="work_dirs/retrieval/omniglot/teacher/epoch_20.pth",
        precision="bfloat16",
    ),
    terms=dict(
        cosine=dict(
            loss=dict(type="kd_core.losses.EmbeddingCosineLoss", loss_weight=1.0),
            layers="embedding",
        ),
    ),
)
