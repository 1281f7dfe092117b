# python tools/train.py configs/retrieval/caltech100/relaxed.py
"""Relaxed contrastive: the teacher's similarities as soft labels of pairs."""

_base_ = "../../_base_/retrieval_caltech100.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::retrieval/caltech100/teacher.py", checkpoint=None, precision="bfloat16"
    ),
    terms=dict(
        relaxed=dict(
            loss=dict(type="kd_core.losses.RelaxedContrastiveLoss", loss_weight=0.3),
            layers="projection",  # as the authors do, before it is scaled to length 1
            teacher_layers="embedding",
        ),
    ),
)
