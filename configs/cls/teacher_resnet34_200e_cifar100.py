# python tools/train.py configs/cls/teacher_resnet34_200e_cifar100.py
"""ResNet-34 with a 3x3 stem from scratch, 21.3 M parameters."""

_base_ = "../_base_/cls_cifar100_200e.py"

model = dict(network=dict(name="resnet34"))
