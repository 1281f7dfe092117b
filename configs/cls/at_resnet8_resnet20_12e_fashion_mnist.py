# python tools/train.py configs/cls/at_resnet8_resnet20_12e_fashion_mnist.py --with-teacher
"""Attention transfer, on all three stages."""

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
        at=dict(
            loss=dict(type="kd_core.losses.AttentionTransferLoss"),
            layers=["network.stage1", "network.stage2", "network.stage3"],
            weight=1000.0,  # RepDistiller's
        ),
    ),
)
