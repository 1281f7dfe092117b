# python tools/train.py configs/cls/pkt_resnet8_resnet20_6e_digits.py --with-teacher
"""PKT: cosine affinities of the pooled features as probabilities."""

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
        pkt=dict(
            loss=dict(type="kd_core.losses.ProbabilisticTransferLoss"),
            layers="network.pool",
            weight=1.0,  # RepDistiller's 30000 is the loss's own default
        ),
    ),
)
