# python tools/train.py configs/cls/student_resnet18_200e_cifar100.py
"""The student alone."""

_base_ = "../_base_/cls_cifar100_200e.py"
