# python tools/train.py configs/cls/fitnets_wrn_16_2_wrn_40_2_240e_cifar100.py --with-teacher
"""FitNets: the middle stage's map, from the start of training."""

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
        fitnets=dict(
            loss=dict(type="kd_core.losses.FeatureImitationLoss"),
            layers="network.stage2",
            weight=100.0,  # RepDistiller's
        ),
    ),
)
