# python tools/train.py configs/cls/crd_resnet8_resnet20_6e_caltech100.py --with-teacher
"""CRD: contrast of the pooled features with a memory bank."""

_base_ = "../_base_/cls_caltech100.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_resnet20_40e_caltech100.py",
        checkpoint="work_dirs/cls/teacher_resnet20_40e_caltech100/epoch_40.pth",
    ),
    terms=dict(
        crd=dict(
            # samples: ids of all 5,233 pictures; RepDistiller has 16384 negatives of 50,000
            loss=dict(type="kd_core.losses.CRDLoss", samples=5233, negatives=1024),
            layers="network.pool",
            weight=0.8,  # RepDistiller's
        ),
    ),
)
