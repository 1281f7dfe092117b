# python tools/train.py configs/cls/asckd_wrn_16_2_wrn_40_2_240e_cifar100.py --with-teacher
"""ASCKD: relations between the samples of a batch, on attention maps of all three stages."""

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
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss"),
            layers=["network.stage1", "network.stage2", "network.stage3"],
        ),
    ),
)
