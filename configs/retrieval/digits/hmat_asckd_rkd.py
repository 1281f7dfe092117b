# python tools/train.py configs/retrieval/digits/hmat_asckd_rkd.py
"""HMAT, ASCKD and RKD together."""

_base_ = "../../_base_/retrieval_digits.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::retrieval/digits/teacher.py",
        checkpoint="work_dirs/retrieval/digits/teacher/epoch_6.pth",
        precision="bfloat16",
    ),
    terms=dict(
        hmat=dict(
            loss=dict(
                type="kd_core.losses.HMATLoss",
                position_weight=2.5,
                activation_weight=25.0,
                channel_weight=1.25,
            ),
            layers=dict(
                low="trunk.layer1", mid=["trunk.layer2", "trunk.layer3"], high="trunk.layer4"
            ),
        ),
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", loss_weight=25.0),
            layers=["trunk.layer2", "trunk.layer3", "trunk.layer4"],
        ),
        distance=dict(
            loss=dict(type="kd_core.losses.RelationalDistanceLoss", loss_weight=10.0),
            layers="embedding",
        ),
        angle=dict(
            loss=dict(type="kd_core.losses.RelationalAngleLoss", loss_weight=20.0),
            layers="embedding",
        ),
    ),
)
