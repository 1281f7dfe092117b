# python tools/train.py configs/cls/heads_wrn_40_2_20e_cifar100.py --with-teacher
"""Heads behind the stages of the trained WRN-40-2, which is frozen: first phase of MSKD-SSR."""

_base_ = "../_base_/cls_cifar100_240e.py"

model = dict(
    _delete_=True,
    type="kd_cls.TeacherHeads",
    student=dict(
        type="kd_cls.Classifier",
        network=dict(type="kd_cls.CifarNetwork", name="wrn_40_2", num_classes=100),
        image_size=32,
        data_preprocessor={{_base_.model.data_preprocessor}},
    ),
    pretrained=dict(
        config="kdkit::cls/teacher_wrn_40_2_240e_cifar100.py",
        checkpoint="work_dirs/cls/teacher_wrn_40_2_240e_cifar100/epoch_240.pth",
    ),
)

max_epochs = 20  # our choice: the heads alone converge faster than a network
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=True, milestones=[12, 16], gamma=0.1),
]
