# python tools/train.py configs/cls/crd_wrn_16_2_wrn_40_2_240e_cifar100.py --with-teacher
"""CRD: contrast of the pooled features with a memory bank."""

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
        crd=dict(
            loss=dict(type="kd_core.losses.CRDLoss", samples=50000),
            layers="network.pool",
            weight=0.8,  # RepDistiller's
        ),
    ),
)
