# python tools/train.py configs/retrieval/digits/rkd.py
"""RKD: distances and angles between the embeddings of a batch."""

_base_ = "../../_base_/retrieval_digits.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::retrieval/digits/teacher.py",
        checkpoint="work_dirs/retrieval/digits/teacher/epoch_6.pth",
        precision="bfloat16",
    ),
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
