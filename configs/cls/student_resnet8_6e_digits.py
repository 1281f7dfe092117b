# python tools/train.py configs/cls/student_resnet8_6e_digits.py
"""The student alone."""

_base_ = "../_base_/cls_digits.py"
