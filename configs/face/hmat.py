# kdkit train kdkit::face/hmat+orl --with-teacher
"""HMAT: attention of the larger network's maps; and the rows of dlib's network, which has none."""

_base_ = "data/orl.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student=_base_.model,
    teachers=dict(large=_base_.trained.teacher, dlib=_base_.trained.dlib),
    terms=dict(
        hmat=dict(
            loss=dict(type="kd_core.losses.HMATLoss", preset="embedder"),
            layers=_base_.layers,
            teacher="large",
        ),
        cosine=dict(
            loss=dict(type="kd_core.losses.EmbeddingCosineLoss", loss_weight=1.0),
            layers="embedding",
            teacher="dlib",
        ),
    ),
)
for name in model["terms"]:
    model["terms"][name].update(_base_.tuned.get(name, {}))
