# python tools/train.py configs/bccd/student.py
"""The student alone, for comparison."""

_base_ = "../_base_/bccd.py"
