# kdkit train kdkit::retrieval/relaxed+digits --with-teacher
"""Relaxed contrastive: the teacher's similarities as soft labels of pairs."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        relaxed=dict(
            loss=dict(type="kd_core.losses.RelaxedContrastiveLoss", loss_weight=0.3),
            layers="projection",  # as the authors do, before it is scaled to length 1
            teacher_layers="embedding",
        ),
    ),
)
model["terms"]["relaxed"].update(_base_.tuned.get("relaxed", {}))
