# python tools/train.py configs/cls/student_wrn_16_2_240e_cifar100.py
"""The student alone."""

_base_ = "../_base_/cls_cifar100_240e.py"
