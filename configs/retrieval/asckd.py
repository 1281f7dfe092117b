# kdkit train kdkit::retrieval/asckd+digits --with-teacher
"""ASCKD: correlations of a batch by the attention maps of the trunk's stages."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", loss_weight=25.0),
            layers=[*_base_.layers.mid, _base_.layers.high],
        ),
    ),
)
model["terms"]["asckd"].update(_base_.tuned.get("asckd", {}))
