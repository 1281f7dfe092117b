# python tools/train.py configs/cls/kd_resnet8_resnet20_12e_fashion_mnist.py --with-teacher
"""Soft targets: cross-entropy + KL at temperature 4."""

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
        kd=dict(
            loss=dict(type="kd_core.losses.SoftTargetLoss", temperature=4.0),
            layers="logits",
        ),
    ),
)
