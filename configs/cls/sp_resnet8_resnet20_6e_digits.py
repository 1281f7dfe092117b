# python tools/train.py configs/cls/sp_resnet8_resnet20_6e_digits.py --with-teacher
"""Similarity preserving: the Gram matrix of the batch, on the last stage."""

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
        sp=dict(
            loss=dict(type="kd_core.losses.SimilarityPreservingLoss"),
            layers="network.stage3",
            weight=3000.0,  # RepDistiller's
        ),
    ),
)
