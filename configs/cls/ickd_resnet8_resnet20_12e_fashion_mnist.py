# python tools/train.py configs/cls/ickd_resnet8_resnet20_12e_fashion_mnist.py --with-teacher
"""ICKD: correlation of the last stage's channels."""

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
        ickd=dict(
            loss=dict(type="kd_core.losses.ChannelAttentionLoss", form="icc", loss_weight=2.5 * 64),
            layers="network.stage3",
            weight=1.0,  # authors' 2.5; their mean lacks a factor of 64 channels
        ),
    ),
)
