# python tools/train.py configs/cls/pkt_wrn_16_2_wrn_40_2_240e_cifar100.py --with-teacher
"""PKT: cosine affinities of the pooled features as probabilities."""

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
        pkt=dict(
            loss=dict(type="kd_core.losses.ProbabilisticTransferLoss"),
            layers="network.pool",
            weight=1.0,  # RepDistiller's 30000 is the loss's own default
        ),
    ),
)
