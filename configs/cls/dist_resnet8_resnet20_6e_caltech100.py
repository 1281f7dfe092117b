# python tools/train.py configs/cls/dist_resnet8_resnet20_6e_caltech100.py --with-teacher
"""DIST: correlation of class probabilities."""

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
        dist=dict(
            loss=dict(
                type="kd_core.losses.DISTLoss", inter_weight=2.0, intra_weight=2.0, temperature=4.0
            ),
            layers="logits",
            weight=1.0,  # the authors' on CIFAR-100
        ),
    ),
)
