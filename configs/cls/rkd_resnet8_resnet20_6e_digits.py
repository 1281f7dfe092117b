# python tools/train.py configs/cls/rkd_resnet8_resnet20_6e_digits.py --with-teacher
"""RKD: distances and angles of the pooled features."""

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
        distance=dict(
            loss=dict(type="kd_core.losses.RelationalDistanceLoss"),
            layers="network.pool",
            weight=25.0,  # RepDistiller's
        ),
        angle=dict(
            loss=dict(type="kd_core.losses.RelationalAngleLoss"),
            layers="network.pool",
            weight=50.0,  # RepDistiller's
        ),
    ),
)
