# python tools/train.py configs/cls/dml_wrn_16_2_wrn_40_2_240e_cifar100.py
"""DML: WRN-16-2 and WRN-40-2 learn from each other, both from scratch."""

_base_ = "../_base_/cls_cifar100_240e.py"

model = dict(
    _delete_=True,
    type="kd_cls.DML",
    student=dict(
        type="kd_cls.Classifier",
        network=dict(type="kd_cls.CifarNetwork", name="wrn_16_2", num_classes=100),
        image_size=32,
        data_preprocessor={{_base_.model.data_preprocessor}},
    ),
    peers=[
        dict(
            type="kd_cls.Classifier",
            network=dict(type="kd_cls.CifarNetwork", name="wrn_40_2", num_classes=100),
            image_size=32,
            data_preprocessor={{_base_.model.data_preprocessor}},
        ),
    ],
)
