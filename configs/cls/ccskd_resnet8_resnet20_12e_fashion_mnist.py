# python tools/train.py configs/cls/ccskd_resnet8_resnet20_12e_fashion_mnist.py --with-teacher
"""CCSKD: selective soft targets, channel distillation and channel relations."""

_base_ = "../_base_/cls_fashion_mnist.py"

model = dict(
    _delete_=True,
    type="kd_cls.CCSKD",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_resnet20_30e_fashion_mnist.py",
        checkpoint="work_dirs/cls/teacher_resnet20_30e_fashion_mnist/epoch_30.pth",
    ),
    # The authors' schedule for 200 epochs, at about the same shares of 12: 60, 160 and 30 of 200.
    schedule=dict(epoch_length=32, start=4, decay=[4, 10], every=2),
)
