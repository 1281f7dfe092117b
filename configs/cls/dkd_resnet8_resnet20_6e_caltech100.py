# python tools/train.py configs/cls/dkd_resnet8_resnet20_6e_caltech100.py --with-teacher
"""DKD: the target class and the others apart."""

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
        dkd=dict(
            # weights 1 and 8: the default of the authors' code (mdistiller), without its warm-up
            loss=dict(
                type="kd_core.losses.DKDLoss", target_weight=1.0, others_weight=8.0, temperature=4.0
            ),
            layers="logits",
        ),
    ),
)
