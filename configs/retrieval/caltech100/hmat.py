# python tools/train.py configs/retrieval/caltech100/hmat.py
"""HMAT: attention of the trunk's stages."""

_base_ = "../../_base_/retrieval_caltech100.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student={{_base_.model}},
    teacher=dict(config="configs/retrieval/caltech100/teacher.py", checkpoint=None),
    terms=dict(
        hmat=dict(
            loss=dict(
                type="kd_core.losses.HMATLoss",
                position_weight=10.0,
                activation_weight=100.0,
                channel_weight=5.0,
            ),
            layers=dict(
                low="trunk.layer1", mid=["trunk.layer2", "trunk.layer3"], high="trunk.layer4"
            ),
            teacher_layers=dict(
                low="trunk.features.3",
                mid=["trunk.features.6", "trunk.features.13"],
                high="trunk.features.17",
            ),
        ),
    ),
)
