# kdkit train kdkit::demo/inherited.py --with-teacher
"""The demo's student with FPN and heads of demo/teacher.py, without distillation."""

_base_ = "distilled.py"

model = dict(terms=dict(imitation=dict(weight=0.0)))  # a term of weight 0 is not computed
