# python tools/train.py configs/cls/cc_resnet8_resnet20_6e_digits.py --with-teacher
"""Correlation congruence of the pooled features."""

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
        cc=dict(
            loss=dict(type="kd_core.losses.CorrelationCongruenceLoss"),
            layers="network.pool",
            weight=100.0,  # ours; RepDistiller's 0.02 is of another formula
        ),
    ),
)
