# python tools/train.py configs/cls/fitnets_resnet8_resnet20_12e_fashion_mnist.py --with-teacher
"""FitNets: the middle stage's map, from the start of training."""

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
        fitnets=dict(
            loss=dict(type="kd_core.losses.FeatureImitationLoss"),
            layers="network.stage2",
            weight=10.0,  # a tenth of RepDistiller's, by the validation images of fashion_mnist
        ),
    ),
)
