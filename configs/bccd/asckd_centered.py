# python tools/train.py configs/bccd/asckd_centered.py
"""ASCKD on centred attention maps, from the neck of configs/bccd/teacher.py, trained before."""

_base_ = "../_base_/bccd.py"

model = dict(
    _delete_=True,
    type="kd_det.DistilledDetector",
    student={{_base_.model}},
    teacher=dict(
        config="configs/bccd/teacher.py", checkpoint="work_dirs/bccd/teacher/epoch_12.pth"
    ),
    terms=dict(
        asckd=dict(
            loss=dict(
                type="kd_core.losses.ASCKDLoss",
                relation="centered",
                loss_weight=0.3,  # as strong as the task at the neck, late in training
            ),
            layers="neck[0:4]",
        ),
    ),
)
