# kdkit train kdkit::retrieval/rkd_protocol/rkd+cub --with-teacher
"""RKD protocol: ResNet-50-512 -> ResNet-18-64 by RKD-D and RKD-A alone, without a label.

As the authors do, the student's vectors are not scaled to length 1; the teacher's are.
"""

_base_ = "data/cub.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student=dict(
        {key: value for key, value in _base_.model.items() if key != "criterion"}, normalize=False
    ),
    teacher=_base_.trained.teacher,
    terms=dict(
        distance=dict(
            loss=dict(type="kd_core.losses.RelationalDistanceLoss", loss_weight=1.0),
            layers="embedding",
        ),
        angle=dict(
            loss=dict(type="kd_core.losses.RelationalAngleLoss", loss_weight=2.0),
            layers="embedding",
        ),
    ),
)
model["terms"]["distance"].update(_base_.tuned.get("distance", {}))
model["terms"]["angle"].update(_base_.tuned.get("angle", {}))
