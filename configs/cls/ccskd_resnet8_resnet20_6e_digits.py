# python tools/train.py configs/cls/ccskd_resnet8_resnet20_6e_digits.py --with-teacher
"""CCSKD: selective soft targets, channel distillation and channel relations."""

_base_ = "../_base_/cls_digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.CCSKD",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_resnet20_6e_digits.py",
        checkpoint="work_dirs/cls/teacher_resnet20_6e_digits/epoch_6.pth",
    ),
    # The authors' schedule for 200 epochs, at the same shares of 6: 60, 160 and 30 of 200.
    schedule=dict(epoch_length=23, start=2, decay=[2, 5], every=1),
)
