# kdkit train kdkit::demo/teacher.py     (make demo runs it)
"""The demo's teacher: ResNet-18 at three times the student's width, with a wider FPN and head."""

_base_ = "_base_/digits.py"

model = _base_.teacher
