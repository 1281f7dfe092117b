# python tools/train.py configs/cls/teacher_resnet20_30e_fashion_mnist.py
"""ResNet-20 from scratch, 272,000 parameters, 30 epochs."""

_base_ = "../_base_/cls_fashion_mnist.py"

model = dict(network=dict(name="resnet20"))
max_epochs = 30
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
