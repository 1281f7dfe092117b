# python tools/train.py configs/cls/ctkd_resnet8_resnet20_6e_digits.py --with-teacher
"""CTKD: a teacher trained beside the student gives its logits, an expert its attention."""

_base_ = "../_base_/cls_digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.CTKD",
    student={{_base_.model}},
    scratch=dict(
        type="kd_cls.Classifier",
        network=dict(type="kd_cls.CifarNetwork", name="resnet20", num_classes=10),
        image_size=32,
        data_preprocessor={{_base_.model.data_preprocessor}},
    ),
    teacher=dict(
        config="kdkit::cls/teacher_resnet20_6e_digits.py",
        checkpoint="work_dirs/cls/teacher_resnet20_6e_digits/epoch_6.pth",
    ),
    gamma=0.03,
    beta=1000.0,
)
