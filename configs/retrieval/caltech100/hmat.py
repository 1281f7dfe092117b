# python tools/train.py configs/retrieval/caltech100/hmat.py
"""HMAT: attention of the trunk's stages."""

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
    ),
)
