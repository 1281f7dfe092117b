# python tools/train.py configs/cls/dist_resnet8_resnet20_6e_digits.py --with-teacher
"""DIST: correlation of class probabilities."""

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
        dist=dict(
            loss=dict(
                type="kd_core.losses.DISTLoss", inter_weight=2.0, intra_weight=2.0, temperature=4.0
            ),
            layers="logits",
            weight=1.0,  # the authors' on CIFAR-100
        ),
    ),
)
