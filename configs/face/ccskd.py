# kdkit train kdkit::face/ccskd+orl --with-teacher
"""CCSKD on identities: selective soft targets, channel distillation and channel relations."""

_base_ = "data/orl.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.CCSKD",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    schedule=_base_.ccskd,
    weights=dict(channel=_base_.channel),
    layers=_base_.stages,
    teacher_layers=_base_.teacher_stages,
)
