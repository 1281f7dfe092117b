# python tools/train.py configs/hmat_faster_rcnn_voc.py
"""VOC 07+12: ResNet-18 under ResNet-101.

There is no published teacher for VOC: train it first with
``python tools/train.py configs/voc_teacher.py``.
"""

_base_ = "_base_/voc.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student={{_base_.model}},
    teacher=dict(config="kdkit::voc_teacher.py", checkpoint="work_dirs/voc_teacher/epoch_4.pth"),
    terms=dict(
        # As in hmat_faster_rcnn.py: measured on BCCD only.
        hmat=dict(
            loss=dict(type="kd_core.losses.HMATLoss", preset="detector"),
            layers=dict(low="neck[0]", mid="neck[1:3]", high="neck[3]"),
        )
    ),
)
