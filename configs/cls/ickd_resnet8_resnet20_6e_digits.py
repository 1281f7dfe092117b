# python tools/train.py configs/cls/ickd_resnet8_resnet20_6e_digits.py --with-teacher
"""ICKD: correlation of the last stage's channels."""

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
        ickd=dict(
            loss=dict(type="kd_core.losses.ChannelAttentionLoss", form="icc", loss_weight=2.5 * 64),
            layers="network.stage3",
            weight=1.0,  # authors' 2.5; their mean lacks a factor of 64 channels
        ),
    ),
)
