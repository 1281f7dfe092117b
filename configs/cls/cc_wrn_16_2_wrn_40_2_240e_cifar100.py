# python tools/train.py configs/cls/cc_wrn_16_2_wrn_40_2_240e_cifar100.py --with-teacher
"""Correlation congruence of the pooled features."""

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
        cc=dict(
            loss=dict(type="kd_core.losses.CorrelationCongruenceLoss"),
            layers="network.pool",
            weight=100.0,  # ours; RepDistiller's 0.02 is of another formula
        ),
    ),
)
