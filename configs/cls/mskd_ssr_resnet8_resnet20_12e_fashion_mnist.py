# python tools/train.py configs/cls/mskd_ssr_resnet8_resnet20_12e_fashion_mnist.py --with-teacher
"""MSKD-SSR: each stage learns from the teacher's, and from the student's next one."""

_base_ = "../_base_/cls_fashion_mnist.py"

model = dict(
    _delete_=True,
    type="kd_cls.MSKDSSR",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/heads_resnet20_4e_fashion_mnist.py",
        checkpoint="work_dirs/cls/heads_resnet20_4e_fashion_mnist/epoch_4.pth",
    ),
)
