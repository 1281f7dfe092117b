# kdkit train kdkit::retrieval/hmat+digits --with-teacher
"""HMAT: attention of the trunk's stages."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        hmat=dict(
            loss=dict(type="kd_core.losses.HMATLoss", preset="embedder"),
            layers=_base_.layers,
        ),
    ),
)
model["terms"]["hmat"].update(_base_.tuned.get("hmat", {}))
