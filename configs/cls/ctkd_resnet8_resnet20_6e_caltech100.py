# python tools/train.py configs/cls/ctkd_resnet8_resnet20_6e_caltech100.py --with-teacher
"""CTKD: a teacher trained beside the student gives its logits, an expert its attention."""

_base_ = "../_base_/cls_caltech100.py"

model = dict(
    _delete_=True,
    type="kd_cls.CTKD",
    student={{_base_.model}},
    scratch=dict(
        type="kd_cls.Classifier",
        network=dict(type="kd_cls.CifarNetwork", name="resnet20", num_classes=100),
        image_size=32,
    ),
    teacher=dict(
        config="kdkit::cls/teacher_resnet20_40e_caltech100.py",
        checkpoint="work_dirs/cls/teacher_resnet20_40e_caltech100/epoch_40.pth",
    ),
    gamma=0.03,
    beta=1000.0,
)
