# kdkit train kdkit::asckd_faster_rcnn.py
"""COCO: as hmat_faster_rcnn.py, with ASCKD instead of HMAT."""

_base_ = "hmat_faster_rcnn.py"

model = dict(
    terms=dict(
        _delete_=True,
        # 10 was tried on BCCD (configs/det) only, where ASCKD alone harmed: add an imitation term.
        # ASCKD relates the images of a batch to each other: the queue gives the 2 images of a GPU
        # something to be related to. It needs maps of one size, hence the pooling.
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", side=16, queue_size=64, loss_weight=10.0),
            layers="neck[0:4]",
        ),
    )
)
