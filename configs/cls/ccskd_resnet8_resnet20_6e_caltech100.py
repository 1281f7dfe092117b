# python tools/train.py configs/cls/ccskd_resnet8_resnet20_6e_caltech100.py --with-teacher
"""CCSKD: selective soft targets, channel distillation and channel relations."""

_base_ = "../_base_/cls_caltech100.py"

model = dict(
    _delete_=True,
    type="kd_cls.CCSKD",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_resnet20_40e_caltech100.py",
        checkpoint="work_dirs/cls/teacher_resnet20_40e_caltech100/epoch_40.pth",
    ),
    # The authors' schedule for 200 epochs, at about the same shares of 6: 60, 160 and 30 of 200.
    schedule=dict(epoch_length=66, start=2, decay=[2, 5], every=1),
)
