# python tools/train.py configs/retrieval/caltech100/hmat_asckd_rkd.py
"""HMAT, ASCKD and RKD together."""

_base_ = "../../_base_/retrieval_caltech100.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::retrieval/caltech100/teacher.py", checkpoint=None, precision="bfloat16"
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
                low="trunk.features.3",
                mid=["trunk.features.6", "trunk.features.10"],
                high="trunk.features.11",
            ),
            teacher_layers=dict(
                low="trunk.features.3",
                mid=["trunk.features.6", "trunk.features.13"],
                high="trunk.features.17",
            ),
        ),
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", loss_weight=5.0),
            layers=["trunk.features.6", "trunk.features.10", "trunk.features.11"],
            teacher_layers=["trunk.features.6", "trunk.features.13", "trunk.features.17"],
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
