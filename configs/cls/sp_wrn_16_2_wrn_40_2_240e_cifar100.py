# python tools/train.py configs/cls/sp_wrn_16_2_wrn_40_2_240e_cifar100.py --with-teacher
"""Similarity preserving: the Gram matrix of the batch, on the last stage."""

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
        sp=dict(
            loss=dict(type="kd_core.losses.SimilarityPreservingLoss"),
            layers="network.stage3",
            weight=3000.0,  # RepDistiller's
        ),
    ),
)
