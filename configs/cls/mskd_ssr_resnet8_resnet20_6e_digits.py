# python tools/train.py configs/cls/mskd_ssr_resnet8_resnet20_6e_digits.py --with-teacher
"""MSKD-SSR: each stage learns from the teacher's, and from the student's next one."""

_base_ = "../_base_/cls_digits.py"

model = dict(
    _delete_=True,
    type="kd_cls.MSKDSSR",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/heads_resnet20_2e_digits.py",
        checkpoint="work_dirs/cls/heads_resnet20_2e_digits/epoch_2.pth",
    ),
)
