# python tools/train.py configs/cls/student_resnet8_12e_fashion_mnist.py
"""The student alone."""

_base_ = "../_base_/cls_fashion_mnist.py"
