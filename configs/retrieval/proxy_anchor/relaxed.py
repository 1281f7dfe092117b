# kdkit train kdkit::retrieval/proxy_anchor/relaxed+cub --with-teacher
"""Proxy-Anchor protocol: ResNet-50-512 -> ResNet-18-128, relaxed contrastive, without a label.

As the authors do, the student's vectors are not scaled to length 1 in the loss.
"""

_base_ = "data/cub.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student={key: value for key, value in _base_.model.items() if key != "criterion"},
    teacher=_base_.trained.teacher,
    terms=dict(
        relaxed=dict(
            loss=dict(type="kd_core.losses.RelaxedContrastiveLoss"),
            layers="projection",
            teacher_layers="embedding",
        ),
    ),
)
model["terms"]["relaxed"].update(_base_.tuned.get("relaxed", {}))
