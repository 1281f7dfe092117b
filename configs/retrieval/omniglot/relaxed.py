# python tools/train.py configs/retrieval/omniglot/relaxed.py
"""Relaxed contrastive: the teacher's similarities as soft labels of pairs."""

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
        relaxed=dict(
            loss=dict(type="kd_core.losses.RelaxedContrastiveLoss", loss_weight=0.3),
            layers="projection",  # as the authors do, before it is scaled to length 1
            teacher_layers="embedding",
        ),
    ),
)
