# python tools/train.py configs/retrieval/caltech100/rkd_relaxed.py
"""RKD and relaxed contrastive together."""

_base_ = "../../_base_/retrieval_caltech100.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::retrieval/caltech100/teacher.py", checkpoint=None, precision="bfloat16"
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
        relaxed=dict(
            loss=dict(type="kd_core.losses.RelaxedContrastiveLoss", loss_weight=0.3),
            layers="projection",  # as the authors do, before it is scaled to length 1
            teacher_layers="embedding",
        ),
    ),
)
