# python tools/train.py configs/cls/teacher_resnet56_240e_cifar100.py
"""ResNet-56 from scratch, 0.86 M parameters."""

_base_ = "../_base_/cls_cifar100_240e.py"

model = dict(network=dict(name="resnet56"))
