# kdkit train kdkit::student_faster_rcnn.py
"""COCO: the student of hmat_faster_rcnn.py alone, for comparison."""

_base_ = "hmat_faster_rcnn.py"

model = dict(_delete_=True, **_base_.student)
