# python tools/train.py configs/retrieval/cub/hmat_asckd.py
"""Proxy-Anchor protocol: ResNet-50-512 -> ResNet-18-128, labels, HMAT, ASCKD and RKD together.

The weights are those measured on Caltech-101 (configs/retrieval/caltech100); measure them again.
"""

_base_ = "../../_base_/retrieval_proxy_anchor.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::retrieval/cub/proxy_anchor_teacher.py",
        checkpoint="work_dirs/retrieval/cub/proxy_anchor_teacher/epoch_60.pth",
    ),
    terms=dict(
        hmat=dict(
            loss=dict(
                type="kd_core.losses.HMATLoss",
                position_weight=10.0,
                activation_weight=100.0,
                channel_weight=0.0,  # 2,048 channels attend to one another: costly
            ),
            layers=dict(
                low="trunk.layer1", mid=["trunk.layer2", "trunk.layer3"], high="trunk.layer4"
            ),
        ),
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", loss_weight=10.0),
            layers=["trunk.layer2", "trunk.layer3", "trunk.layer4"],
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
)
