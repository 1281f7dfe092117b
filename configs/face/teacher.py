# kdkit train kdkit::face/teacher+orl
"""The larger network, taught by dlib's rows (RKD and cosine): the teacher of methods with maps."""

_base_ = "data/orl.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student=_base_.teacher,
    teacher=_base_.trained.dlib,
    terms=dict(
        cosine=dict(
            loss=dict(type="kd_core.losses.EmbeddingCosineLoss", loss_weight=1.0),
            layers="embedding",
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
for name in model["terms"]:
    model["terms"][name].update(_base_.tuned.get(name, {}))
train_cfg = _base_.schedules.teacher.train_cfg
param_scheduler = _base_.schedules.teacher.param_scheduler
