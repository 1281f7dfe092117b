# python tools/train.py configs/cls/fitnets_resnet8_resnet20_6e_digits.py --with-teacher
"""FitNets: the middle stage's map, from the start of training."""

_base_ = "../_base_/cls_digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_resnet20_6e_digits.py",
        checkpoint="work_dirs/cls/teacher_resnet20_6e_digits/epoch_6.pth",
    ),
    terms=dict(
        fitnets=dict(
            loss=dict(type="kd_core.losses.FeatureImitationLoss"),
            layers="network.stage2",
            weight=100.0,  # RepDistiller's
        ),
    ),
)
