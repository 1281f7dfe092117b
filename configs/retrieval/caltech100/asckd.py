# python tools/train.py configs/retrieval/caltech100/asckd.py
"""ASCKD: correlations of a batch by the attention maps of the trunk's stages."""

_base_ = "../../_base_/retrieval_caltech100.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::retrieval/caltech100/teacher.py", checkpoint=None, precision="bfloat16"
    ),
    terms=dict(
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", loss_weight=5.0),
            layers=["trunk.features.6", "trunk.features.10", "trunk.features.11"],
            teacher_layers=["trunk.features.6", "trunk.features.13", "trunk.features.17"],
        ),
    ),
)
