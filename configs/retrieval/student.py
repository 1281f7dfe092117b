# kdkit train kdkit::retrieval/student+digits
"""The student alone, with the metric loss that every run here has."""

_base_ = "data/digits.py"
