# python tools/train.py configs/cls/ckd_mkt_wrn_16_2_wrn_40_2_240e_cifar100.py --with-teacher
"""CKD-MKT: WRN-16-2 and WRN-40-2, each trained alone before, go on and teach each other."""

_base_ = "../_base_/cls_cifar100_240e.py"

model = dict(
    _delete_=True,
    type="kd_cls.CKDMKT",
    student=dict(
        type="kd_cls.Classifier",
        network=dict(type="kd_cls.CifarNetwork", name="wrn_16_2", num_classes=100),
        image_size=32,
        data_preprocessor={{_base_.model.data_preprocessor}},
    ),
    pretrained=dict(
        config="kdkit::cls/student_wrn_16_2_240e_cifar100.py",
        checkpoint="work_dirs/cls/student_wrn_16_2_240e_cifar100/epoch_240.pth",
    ),
    peers=[
        dict(
            config="kdkit::cls/teacher_wrn_40_2_240e_cifar100.py",
            checkpoint="work_dirs/cls/teacher_wrn_40_2_240e_cifar100/epoch_240.pth",
        ),
    ],
)
