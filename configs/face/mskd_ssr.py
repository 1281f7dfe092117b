# kdkit train kdkit::face/mskd_ssr+orl --with-teacher
"""MSKD-SSR on identities: each stage learns from the larger network's, and from the next one."""

_base_ = "data/orl.py"

model = dict(
    _delete_=True,
    type="kd_retrieval.MSKDSSR",
    student=_base_.model,
    teacher=_base_.trained.heads,
    a=_base_.channel,
    layers=_base_.stages,
    teacher_layers=_base_.teacher_stages,
)
