# kdkit train kdkit::det/dense/student+bccd
"""The student alone, for comparison."""

_base_ = "data/bccd.py"
