# python tools/train.py configs/retrieval/omniglot/teacher.py
"""ResNet-18 at half its width, from scratch: 2.9 million parameters."""

_base_ = "../../_base_/retrieval_omniglot.py"

model = dict(trunk=dict(options=dict(channels=(32, 64, 128, 256))), dim=256)

max_epochs = 20
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=40),
    dict(
        type="CosineAnnealingLR",
        eta_min_ratio=0.01,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
