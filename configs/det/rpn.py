# kdkit train kdkit::det/rpn+bccd --with-teacher
"""Objectness and box offsets of the teacher's RPN, at every anchor."""

_base_ = "data/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student=_base_.model,
    teacher=_base_.trained.teacher,
    terms=dict(
        objects=dict(
            loss=dict(
                type="kd_core.losses.ClassResponseLoss",
                form="binary",
                anchors=len(_base_.model.rpn_head.anchor_generator.scales)
                * len(_base_.model.rpn_head.anchor_generator.ratios),
            ),
            layers="rpn_head[0]",
        ),
        boxes=dict(
            loss=dict(type="kd_core.losses.BoxResponseLoss"),
            layers=dict(scores="rpn_head[0]", boxes="rpn_head[1]"),
        ),
    ),
)
model["terms"]["objects"].update(_base_.tuned.get("objects", {}))
model["terms"]["boxes"].update(_base_.tuned.get("boxes", {}))
