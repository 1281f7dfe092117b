# python tools/train.py configs/cls/hmat_resnet8_resnet20_6e_digits.py
"""HMAT: position at the low, activation at the mid and high, channel at the high stage."""

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
        hmat=dict(
            loss=dict(
                type="kd_core.losses.HMATLoss",
                options=dict(position=dict(side=8)),  # of 32-pixel images; 16 is for larger ones
            ),
            layers=dict(low="network.stage1", mid="network.stage2", high="network.stage3"),
            weight=0.03,  # of 1, 0.3, 0.1 and 0.03, on the validation digits
        ),
    ),
)
