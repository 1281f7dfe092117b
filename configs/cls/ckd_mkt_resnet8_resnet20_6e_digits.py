# python tools/train.py configs/cls/ckd_mkt_resnet8_resnet20_6e_digits.py --with-teacher
"""CKD-MKT: ResNet-8 and ResNet-20, each trained alone before, go on and teach each other."""

_base_ = "../_base_/cls_digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.CKDMKT",
    student={{_base_.model}},
    pretrained=dict(
        config="kdkit::cls/student_resnet8_6e_digits.py",
        checkpoint="work_dirs/cls/student_resnet8_6e_digits/epoch_6.pth",
    ),
    peers=[
        dict(
            config="kdkit::cls/teacher_resnet20_6e_digits.py",
            checkpoint="work_dirs/cls/teacher_resnet20_6e_digits/epoch_6.pth",
        ),
    ],
)
