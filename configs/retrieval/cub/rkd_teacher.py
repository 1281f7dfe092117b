# python tools/train.py configs/retrieval/cub/rkd_teacher.py
"""RKD protocol: ResNet-50 with 512 dimensions (triplets, distance-weighted)."""

_base_ = "../../_base_/retrieval_rkd.py"

model = dict(trunk=dict(name="resnet50"), dim=512)

max_epochs = 40
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, milestones=[25, 30, 35], gamma=0.5)]
