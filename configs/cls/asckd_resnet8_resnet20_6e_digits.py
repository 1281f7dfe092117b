# python tools/train.py configs/cls/asckd_resnet8_resnet20_6e_digits.py
"""ASCKD: relations between the samples of a batch, on attention maps of all three stages."""

_base_ = "../_base_/cls_digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_resnet20_6e_digits.py",
        checkpoint="work_dirs/cls/teacher_resnet20_6e_digits/epoch_6.pth",
    ),
    terms=dict(
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss"),
            layers=["network.stage1", "network.stage2", "network.stage3"],
            weight=0.3,  # of 1, 0.3, 0.1 and 0.03, on the validation digits
        ),
    ),
)
