# python tools/train.py configs/cls/ctkd_wrn_16_2_wrn_40_2_240e_cifar100.py
"""CTKD: a teacher trained beside the student gives its logits, an expert its attention."""

_base_ = "../_base_/cls_cifar100_240e.py"

model = dict(
    _delete_=True,
    type="kd_cls.CTKD",
    student={{_base_.model}},
    scratch=dict(
        type="kd_cls.Classifier",
        network=dict(type="kd_cls.CifarNetwork", name="wrn_40_2", num_classes=100),
        image_size=32,
        data_preprocessor={{_base_.model.data_preprocessor}},
    ),
    teacher=dict(
        config="kdkit::cls/teacher_wrn_40_2_240e_cifar100.py",
        checkpoint="work_dirs/cls/teacher_wrn_40_2_240e_cifar100/epoch_240.pth",
    ),
    gamma=0.03,
    beta=1000.0,
)
