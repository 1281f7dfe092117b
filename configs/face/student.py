# kdkit train kdkit::face/student+orl
"""The student alone, with the cross-entropy of identities that every run here has."""

_base_ = "data/orl.py"
