# python tools/train.py configs/chess/student.py
"""The student alone, for comparison."""

_base_ = "../_base_/chess.py"
