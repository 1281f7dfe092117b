# kdkit train kdkit::hmat_asckd_faster_rcnn.py
"""COCO: HMAT of hmat_faster_rcnn.py and ASCKD of asckd_faster_rcnn.py together."""

_base_ = "hmat_faster_rcnn.py"

model = dict(
    terms=dict(
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", side=16, queue_size=64, loss_weight=10.0),
            layers="neck[0:4]",
        )
    )
)
