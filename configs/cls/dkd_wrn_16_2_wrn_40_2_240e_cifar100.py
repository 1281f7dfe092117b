# python tools/train.py configs/cls/dkd_wrn_16_2_wrn_40_2_240e_cifar100.py --with-teacher
"""DKD: the target class and the others apart."""

_base_ = "../_base_/cls_cifar100_240e.py"

epoch = 782  # iterations: 50,000 images in batches of 64
model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_wrn_40_2_240e_cifar100.py",
        checkpoint="work_dirs/cls/teacher_wrn_40_2_240e_cifar100/epoch_240.pth",
    ),
    terms=dict(
        dkd=dict(
            # weights 1 and 6, and the warm-up: the authors' for this pair (mdistiller)
            loss=dict(
                type="kd_core.losses.DKDLoss", target_weight=1.0, others_weight=6.0, temperature=4.0
            ),
            layers="logits",
            schedule=dict(type="kd_core.schedules.LinearWarmup", end=20 * epoch),
        ),
    ),
)
