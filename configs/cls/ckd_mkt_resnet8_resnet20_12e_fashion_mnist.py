# python tools/train.py configs/cls/ckd_mkt_resnet8_resnet20_12e_fashion_mnist.py --with-teacher
"""CKD-MKT: ResNet-8 and ResNet-20, each trained alone before, go on and teach each other."""

_base_ = "../_base_/cls_fashion_mnist.py"

model = dict(
    _delete_=True,
    type="kd_cls.CKDMKT",
    student={{_base_.model}},
    pretrained=dict(
        config="kdkit::cls/student_resnet8_12e_fashion_mnist.py",
        checkpoint="work_dirs/cls/student_resnet8_12e_fashion_mnist/epoch_12.pth",
    ),
    peers=[
        dict(
            config="kdkit::cls/peer_resnet20_12e_fashion_mnist.py",
            checkpoint="work_dirs/cls/peer_resnet20_12e_fashion_mnist/epoch_12.pth",
        ),
    ],
)
