# kdkit train kdkit::retrieval/proxy_anchor/vit_relaxed_rkd+cub --with-teacher
"""Proxy-Anchor protocol: ViT-S/16 -> ResNet-18-128, relaxed contrastive and RKD.

Tokens are not feature maps, so the terms relate embeddings.
"""

_base_ = "data/cub.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student={key: value for key, value in _base_.model.items() if key != "criterion"},
    teacher=_base_.trained.vit_teacher,
    terms=dict(
        relaxed=dict(
            loss=dict(type="kd_core.losses.RelaxedContrastiveLoss"),
            layers="projection",
            teacher_layers="embedding",
        ),
        distance=dict(
            loss=dict(type="kd_core.losses.RelationalDistanceLoss", loss_weight=1.0),
            layers="embedding",
        ),
        angle=dict(
            loss=dict(type="kd_core.losses.RelationalAngleLoss", loss_weight=2.0),
            layers="embedding",
        ),
    ),
    dry_run_size=(224, 224),
)
model["terms"]["relaxed"].update(_base_.tuned.get("relaxed", {}))
model["terms"]["distance"].update(_base_.tuned.get("distance", {}))
model["terms"]["angle"].update(_base_.tuned.get("angle", {}))
