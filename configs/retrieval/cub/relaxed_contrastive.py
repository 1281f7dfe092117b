# python tools/train.py configs/retrieval/cub/relaxed_contrastive.py
"""Proxy-Anchor protocol: ResNet-50-512 -> ResNet-18-128, relaxed contrastive, without a label.

As the authors do, the student's vectors are not scaled to length 1 in the loss.
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
        config="kdkit::retrieval/cub/proxy_anchor_teacher.py",
        checkpoint="work_dirs/retrieval/cub/proxy_anchor_teacher/epoch_60.pth",
    ),
    terms=dict(
        relaxed=dict(
            loss=dict(type="kd_core.losses.RelaxedContrastiveLoss"),
            layers="projection",
            teacher_layers="embedding",
        ),
    ),
)
