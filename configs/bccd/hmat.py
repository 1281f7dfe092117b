# python tools/train.py configs/bccd/hmat.py
"""HMAT from the neck of configs/bccd/teacher.py, trained before."""

_base_ = "../_base_/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student={{_base_.model}},
    teacher=dict(
        config="configs/bccd/teacher.py", checkpoint="work_dirs/bccd/teacher/epoch_12.pth"
    ),
    terms=dict(
        hmat=dict(
            loss=dict(
                type="kd_core.losses.HMATLoss",
                position_weight=10.0,
                activation_weight=2.0,
                channel_weight=5.0,
                options=dict(activation=dict(reduction="sum")),
            ),
            layers=dict(low="neck[0]", mid="neck[1:3]", high="neck[3]"),
        ),
    ),
)
