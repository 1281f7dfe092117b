# python tools/train.py configs/cls/dml_resnet8_resnet20_6e_caltech100.py
"""DML: ResNet-8 and ResNet-20 learn from each other, both from scratch."""

_base_ = "../_base_/cls_caltech100.py"

model = dict(
    _delete_=True,
    type="kd_cls.DML",
    student={{_base_.model}},
    peers=[
        dict(
            type="kd_cls.Classifier",
            network=dict(type="kd_cls.CifarNetwork", name="resnet20", num_classes=100),
            image_size=32,
        ),
    ],
)
