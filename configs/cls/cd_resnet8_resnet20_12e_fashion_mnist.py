# python tools/train.py configs/cls/cd_resnet8_resnet20_12e_fashion_mnist.py --with-teacher
"""Channel distillation: channel means of all three stages."""

_base_ = "../_base_/cls_fashion_mnist.py"

model = dict(
    _delete_=True,
    type="kd_cls.DistilledClassifier",
    student={{_base_.model}},
    teacher=dict(
        config="kdkit::cls/teacher_resnet20_30e_fashion_mnist.py",
        checkpoint="work_dirs/cls/teacher_resnet20_30e_fashion_mnist/epoch_30.pth",
    ),
    terms=dict(
        cd=dict(
            loss=dict(type="kd_core.losses.ChannelDistillationLoss"),
            layers=["network.stage1", "network.stage2", "network.stage3"],
            weight=6.0,  # as in the code of CCSKD
        ),
    ),
)
