# python tools/train.py configs/retrieval/cub/rkd.py
"""RKD protocol: ResNet-50-512 -> ResNet-18-64 by RKD-D and RKD-A alone, without a label.

As the authors do, the student's vectors are not scaled to length 1; the teacher's are.
"""

_base_ = "../../_base_/retrieval_rkd.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student=dict(
        type="kd_retrieval.Embedder",
        trunk=dict(type="kd_retrieval.TorchvisionTrunk", name="resnet18", weights="IMAGENET1K_V1"),
        dim=64,
        normalize=False,
    ),
    teacher=dict(
        config="kdkit::retrieval/cub/rkd_teacher.py",
        checkpoint="work_dirs/retrieval/cub/rkd_teacher/epoch_40.pth",
    ),
    terms=dict(
        distance=dict(
            loss=dict(type="kd_core.losses.RelationalDistanceLoss", loss_weight=1.0),
            layers="embedding",
        ),
        angle=dict(
            loss=dict(type="kd_core.losses.RelationalAngleLoss", loss_weight=2.0),
            layers="embedding",
        ),
    ),
)
