# python tools/train.py configs/cls/vid_resnet8_resnet20_6e_digits.py --with-teacher
"""VID: likelihood of the teacher's maps, told from the student's."""

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
        vid=dict(
            loss=dict(type="kd_core.losses.VIDLoss"),
            layers=["network.stage1", "network.stage2", "network.stage3"],
            weight=1.0,  # RepDistiller's
        ),
    ),
)
