# kdkit train kdkit::cls/peer+digits
"""The teacher's network by the student's schedule: the first phase of a peer in CKD-MKT."""

_base_ = "data/digits.py"

model = dict(_delete_=True, **_base_.teacher)
