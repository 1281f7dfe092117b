# kdkit train kdkit::retrieval/proxy_anchor/hmat_asckd_rkd+cub --with-teacher
"""Proxy-Anchor protocol: ResNet-50-512 -> ResNet-18-128, labels, HMAT, ASCKD and RKD together.

The weights are those measured on Caltech-101; measure them again.
"""

_base_ = "data/cub.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.DistilledEmbedder",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        hmat=dict(
            loss=dict(
                type="kd_core.losses.HMATLoss",
                position_weight=10.0,
                activation_weight=100.0,
                channel_weight=0.0,  # 2,048 channels attend to one another: costly
            ),
            layers=dict(
                low="trunk.layer1", mid=["trunk.layer2", "trunk.layer3"], high="trunk.layer4"
            ),
        ),
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", loss_weight=10.0),
            layers=["trunk.layer2", "trunk.layer3", "trunk.layer4"],
        ),
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
model["terms"]["hmat"].update(_base_.tuned.get("hmat", {}))
model["terms"]["asckd"].update(_base_.tuned.get("asckd", {}))
model["terms"]["distance"].update(_base_.tuned.get("distance", {}))
model["terms"]["angle"].update(_base_.tuned.get("angle", {}))
