# python tools/train.py configs/cls/kd_resnet20_resnet56_240e_cifar100.py --with-teacher
"""Soft targets: cross-entropy + KL at temperature 4."""

_base_ = "../_base_/cls_cifar100_240e.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student=dict(
        type="kd_cls.Classifier",
        network=dict(type="kd_cls.CifarNetwork", name="resnet20", num_classes=100),
        image_size=32,
        data_preprocessor={{_base_.model.data_preprocessor}},
        loss_weight=0.1,  # RepDistiller's, of cross-entropy
    ),
    teacher=dict(
        config="kdkit::cls/teacher_resnet56_240e_cifar100.py",
        checkpoint="work_dirs/cls/teacher_resnet56_240e_cifar100/epoch_240.pth",
    ),
    terms=dict(
        kd=dict(
            loss=dict(type="kd_core.losses.SoftTargetLoss", temperature=4.0),
            layers="logits",
            weight=0.9,  # RepDistiller's, beside 0.1 of cross-entropy
        ),
    ),
)
