# python tools/train.py configs/cls/hmat_wrn_16_2_wrn_40_2_240e_cifar100.py --with-teacher
"""HMAT: position at the low, activation at the mid and high, channel at the high stage."""

_base_ = "../_base_/cls_cifar100_240e.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_wrn_40_2_240e_cifar100.py",
        checkpoint="work_dirs/cls/teacher_wrn_40_2_240e_cifar100/epoch_240.pth",
    ),
    terms=dict(
        hmat=dict(
            loss=dict(
                type="kd_core.losses.HMATLoss",
                options=dict(position=dict(side=8)),  # of 32-pixel images; 16 is for larger ones
            ),
            layers=dict(low="network.stage1", mid="network.stage2", high="network.stage3"),
        ),
    ),
)
