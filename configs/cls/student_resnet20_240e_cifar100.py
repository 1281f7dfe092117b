# python tools/train.py configs/cls/student_resnet20_240e_cifar100.py
"""ResNet-20 alone, 0.28 M parameters."""

_base_ = "../_base_/cls_cifar100_240e.py"

model = dict(network=dict(name="resnet20"))
