# kdkit train kdkit::det/student+bccd
"""The student alone, for comparison."""

_base_ = "data/bccd.py"
