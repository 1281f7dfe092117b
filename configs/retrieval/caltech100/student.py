# python tools/train.py configs/retrieval/caltech100/student.py
"""The student alone, with the metric loss that every run here has."""

_base_ = "../../_base_/retrieval_caltech100.py"
