# python tools/train.py configs/cls/sp_resnet8_resnet20_6e_caltech100.py --with-teacher
"""Similarity preserving: the Gram matrix of the batch, on the last stage."""

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
        sp=dict(
            loss=dict(type="kd_core.losses.SimilarityPreservingLoss"),
            layers="network.stage3",
            weight=300.0,  # a tenth of RepDistiller's, by the validation images of fashion_mnist
        ),
    ),
)
