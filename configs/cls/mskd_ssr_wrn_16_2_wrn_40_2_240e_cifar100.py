# python tools/train.py configs/cls/mskd_ssr_wrn_16_2_wrn_40_2_240e_cifar100.py --with-teacher
"""MSKD-SSR: each stage learns from the teacher's, and from the student's next one."""

_base_ = "../_base_/cls_cifar100_240e.py"

model = dict(
    _delete_=True,
    type="kd_cls.MSKDSSR",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/heads_wrn_40_2_20e_cifar100.py",
        checkpoint="work_dirs/cls/heads_wrn_40_2_20e_cifar100/epoch_20.pth",
    ),
)
