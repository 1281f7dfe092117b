# python tools/train.py configs/cls/ickd_wrn_16_2_wrn_40_2_240e_cifar100.py --with-teacher
"""ICKD: correlation of the last stage's channels."""

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
        ickd=dict(
            loss=dict(
                type="kd_core.losses.ChannelAttentionLoss", form="icc", loss_weight=2.5 * 128
            ),
            layers="network.stage3",
            weight=1.0,  # authors' 2.5; their mean lacks a factor of 128 channels
        ),
    ),
)
