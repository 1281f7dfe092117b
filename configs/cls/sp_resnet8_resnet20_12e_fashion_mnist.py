# python tools/train.py configs/cls/sp_resnet8_resnet20_12e_fashion_mnist.py --with-teacher
"""Similarity preserving: the Gram matrix of the batch, on the last stage."""

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
        sp=dict(
            loss=dict(type="kd_core.losses.SimilarityPreservingLoss"),
            layers="network.stage3",
            weight=300.0,  # a tenth of RepDistiller's, by the validation images of fashion_mnist
        ),
    ),
)
