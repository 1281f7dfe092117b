# kdkit train kdkit::det/unlabeled/student+bccd  (after kdkit::det/unlabeled/distill+bccd)
"""Second phase: the detector's own training, from the backbone and the neck of the first."""

_base_ = "data/bccd.py"

model = dict(
    backbone=dict(
        init_cfg=dict(
            _delete_=True, type="Pretrained", checkpoint=_base_.first_phase, prefix="backbone."
        )
    ),
    neck=dict(init_cfg=dict(type="Pretrained", checkpoint=_base_.first_phase, prefix="neck.")),
)
