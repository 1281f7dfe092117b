# python tools/train.py configs/cls/rkd_wrn_16_2_wrn_40_2_240e_cifar100.py --with-teacher
"""RKD: distances and angles of the pooled features."""

_base_ = "../_base_/cls_cifar100_240e.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_wrn_40_2_240e_cifar100.py",
        checkpoint="work_dirs/cls/teacher_wrn_40_2_240e_cifar100/epoch_240.pth",
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
