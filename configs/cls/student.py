# kdkit train kdkit::cls/student+digits
"""The student alone."""

_base_ = "data/digits.py"
