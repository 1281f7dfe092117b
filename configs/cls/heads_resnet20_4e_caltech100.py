# python tools/train.py configs/cls/heads_resnet20_4e_caltech100.py --with-teacher
"""Heads behind the stages of the trained ResNet-20, which is frozen: first phase of MSKD-SSR."""

_base_ = "../_base_/cls_caltech100.py"

model = dict(
    _delete_=True,
    type="kd_cls.TeacherHeads",
    student=dict(
        type="kd_cls.Classifier",
        network=dict(type="kd_cls.CifarNetwork", name="resnet20", num_classes=100),
        image_size=32,
    ),
    pretrained=dict(
        config="kdkit::cls/teacher_resnet20_40e_caltech100.py",
        checkpoint="work_dirs/cls/teacher_resnet20_40e_caltech100/epoch_40.pth",
    ),
)

max_epochs = 4
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(
        type="CosineAnnealingLR",
        eta_min=0.0,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
