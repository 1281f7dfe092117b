# python tools/train.py configs/cls/vid_resnet8_resnet20_12e_fashion_mnist.py --with-teacher
"""VID: likelihood of the teacher's maps, told from the student's."""

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
        vid=dict(
            loss=dict(type="kd_core.losses.VIDLoss"),
            layers=["network.stage1", "network.stage2", "network.stage3"],
            weight=1.0,  # RepDistiller's
        ),
    ),
)
