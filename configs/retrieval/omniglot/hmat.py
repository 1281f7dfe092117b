# python tools/train.py configs/retrieval/omniglot/hmat.py
"""HMAT: attention of the trunk's stages."""

_base_ = "../../_base_/retrieval_omniglot.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::retrieval/omniglot/teacher.py",
        checkpoint="work_dirs/retrieval/omniglot/teacher/epoch_20.pth",
        precision="bfloat16",
    ),
    terms=dict(
        hmat=dict(
            loss=dict(
                type="kd_core.losses.HMATLoss",
                position_weight=1.0,
                activation_weight=10.0,
                channel_weight=0.5,
            ),
            layers=dict(
                low="trunk.layer1", mid=["trunk.layer2", "trunk.layer3"], high="trunk.layer4"
            ),
        ),
    ),
)
