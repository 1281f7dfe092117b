# python tools/train.py configs/cls/crd_resnet8_resnet20_12e_fashion_mnist.py --with-teacher
"""CRD: contrast of the pooled features with a memory bank."""

_base_ = "../_base_/cls_fashion_mnist.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_resnet20_30e_fashion_mnist.py",
        checkpoint="work_dirs/cls/teacher_resnet20_30e_fashion_mnist/epoch_30.pth",
    ),
    terms=dict(
        crd=dict(
            # samples: 1 + the largest id of the 2,000 images; RepDistiller has 16384 negatives
            loss=dict(type="kd_core.losses.CRDLoss", samples=2085, negatives=1024),
            layers="network.pool",
            weight=0.8,  # RepDistiller's
        ),
    ),
)
