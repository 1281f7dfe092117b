# python tools/train.py configs/cls/rkd_resnet8_resnet20_6e_caltech100.py --with-teacher
"""RKD: distances and angles of the pooled features."""

_base_ = "../_base_/cls_caltech100.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_resnet20_40e_caltech100.py",
        checkpoint="work_dirs/cls/teacher_resnet20_40e_caltech100/epoch_40.pth",
    ),
    terms=dict(
        distance=dict(
            loss=dict(type="kd_core.losses.RelationalDistanceLoss"),
            layers="network.pool",
            weight=2.5,  # a tenth of RepDistiller's, by the validation images of fashion_mnist
        ),
        angle=dict(
            loss=dict(type="kd_core.losses.RelationalAngleLoss"),
            layers="network.pool",
            weight=5.0,  # a tenth of RepDistiller's, by the validation images of fashion_mnist
        ),
    ),
)
