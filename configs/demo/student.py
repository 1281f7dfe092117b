# kdkit train kdkit::demo/student.py     (make demo runs it)
"""The demo's student alone, for comparison."""

_base_ = "_base_/digits.py"
