# python tools/train.py configs/retrieval/omniglot/student.py
"""The student alone, with the metric loss that every run here has."""

_base_ = "../../_base_/retrieval_omniglot.py"
