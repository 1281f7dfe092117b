# python tools/train.py configs/cls/ccskd_resnet18_resnet34_200e_cifar100.py
"""CCSKD by the authors' schedule."""

_base_ = "../_base_/cls_cifar100_200e.py"

model = dict(
    _delete_=True,
    type="kd_cls.CCSKD",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_resnet34_200e_cifar100.py",
        checkpoint="work_dirs/cls/teacher_resnet34_200e_cifar100/epoch_200.pth",
    ),
    schedule=dict(epoch_length=391),  # 50,000 images in batches of 128; the rest is the default
)
