# python tools/train.py configs/cls/asckd_resnet8_resnet20_12e_fashion_mnist.py --with-teacher
"""ASCKD: relations between the samples of a batch, on attention maps of all three stages."""

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
        asckd=dict(
            loss=dict(type="kd_core.losses.ASCKDLoss"),
            layers=["network.stage1", "network.stage2", "network.stage3"],
        ),
    ),
)
