# python tools/train.py configs/cls/crd_resnet8_resnet20_6e_digits.py --with-teacher
"""CRD: contrast of the pooled features with a memory bank."""

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
        crd=dict(
            # samples: ids of all 1,797 digits; RepDistiller has 16384 negatives of 50,000
            loss=dict(type="kd_core.losses.CRDLoss", samples=1797, negatives=1024),
            layers="network.pool",
            weight=0.8,  # RepDistiller's
        ),
    ),
)
