# python tools/train.py configs/chess/hmat_asckd.py
"""HMAT and ASCKD from the neck of configs/chess/teacher.py, trained before."""

_base_ = "../_base_/chess.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::chess/teacher.py", checkpoint="work_dirs/chess/teacher/epoch_12.pth"
    ),
    terms=dict(
        hmat=dict(
            loss=dict(type="kd_core.losses.HMATLoss", preset="detector"),
            layers=dict(low="neck[0]", mid="neck[1:3]", high="neck[3]"),
        ),
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss", loss_weight=10.0), layers="neck[0:4]"
        ),
    ),
)
