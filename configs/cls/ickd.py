# kdkit train kdkit::cls/ickd+digits --with-teacher
"""ICKD: correlation of the last stage's channels."""

_base_ = "data/digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        ickd=dict(
            loss=dict(
                type="kd_core.losses.ChannelAttentionLoss",
                form="icc",
                loss_weight=2.5 * _base_.channels,
            ),
            layers=_base_.stages[-1],
            weight=1.0,  # authors' 2.5; their mean lacks a factor of the channels
        ),
    ),
)
model["terms"]["ickd"].update(_base_.tuned.get("ickd", {}))
