# python tools/train.py configs/cls/rkd_resnet8_resnet20_12e_fashion_mnist.py --with-teacher
"""RKD: distances and angles of the pooled features."""

_base_ = "../_base_/cls_fashion_mnist.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_resnet20_30e_fashion_mnist.py",
        checkpoint="work_dirs/cls/teacher_resnet20_30e_fashion_mnist/epoch_30.pth",
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
