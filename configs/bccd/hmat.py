# python tools/train.py configs/bccd/hmat.py
"""HMAT from the neck of configs/bccd/teacher.py, trained before."""

_base_ = "../_base_/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student={{_base_.model}},
    teacher=dict(config="kdkit::bccd/teacher.py", checkpoint="work_dirs/bccd/teacher/epoch_12.pth"),
    terms=dict(
        hmat=dict(
            loss=dict(type="kd_core.losses.HMATLoss", preset="detector"),
            layers=dict(low="neck[0]", mid="neck[1:3]", high="neck[3]"),
        ),
    ),
)
