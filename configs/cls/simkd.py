# kdkit train kdkit::cls/simkd+digits --with-teacher
"""SimKD: a projector imitates the teacher's last map, and the teacher's classifier reads it."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=dict(
        _base_.model,
        network=dict(
            type="kd_cls.SimKDNetwork",
            network=_base_.model.network,
            channels=_base_.simkd.channels,
            num_features=_base_.simkd.num_features,
            num_classes=_base_.model.network.num_classes,
        ),
        loss_weight=0.0,  # the labels are not used
    ),
    teacher=_base_.trained.teacher,
    inherit=["network.classifier"],  # frozen in the student
    terms=dict(
        simkd=dict(
            loss=dict(type="kd_core.losses.FeatureImitationLoss"),
            layers="network.projector",
            teacher_layers=_base_.last,
        ),
    ),
)
