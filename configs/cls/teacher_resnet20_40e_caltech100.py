# python tools/train.py configs/cls/teacher_resnet20_40e_caltech100.py
"""ResNet-20 from scratch, 278,000 parameters, 40 epochs."""

_base_ = "../_base_/cls_caltech100.py"

model = dict(network=dict(name="resnet20"))
max_epochs = 40
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
