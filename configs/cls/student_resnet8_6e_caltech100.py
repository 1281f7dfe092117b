# python tools/train.py configs/cls/student_resnet8_6e_caltech100.py
"""The student alone."""

_base_ = "../_base_/cls_caltech100.py"
