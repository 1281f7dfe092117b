# python tools/train.py configs/retrieval/cub/vit_to_resnet18.py
"""Proxy-Anchor protocol: ViT-S/16 -> ResNet-18-128, relaxed contrastive and RKD.

Tokens are no feature maps, so the terms relate embeddings.
"""

_base_ = "../../_base_/retrieval_proxy_anchor.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student=dict(
        type="kd_retrieval.Embedder",
        trunk=dict(type="kd_retrieval.TorchvisionTrunk", name="resnet18", weights="IMAGENET1K_V1"),
        pooling="average_max",
        dim=128,
    ),
    teacher=dict(
        config="kdkit::retrieval/cub/vit_teacher.py",
        checkpoint="work_dirs/retrieval/cub/vit_teacher/epoch_30.pth",
    ),
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
