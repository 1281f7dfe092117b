# python tools/train.py configs/retrieval/omniglot/asckd.py
"""ASCKD: correlations of a batch by the attention maps of the trunk's stages."""

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
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", loss_weight=25.0),
            layers=["trunk.layer2", "trunk.layer3", "trunk.layer4"],
        ),
    ),
)
