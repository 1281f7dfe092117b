# kdkit train kdkit::retrieval/rkd_protocol/teacher+cub
"""RKD protocol: ResNet-50 with 512 dimensions (triplets, distance-weighted)."""

_base_ = "data/cub.py"

model = dict(trunk=dict(name="resnet50"), dim=512)
train_cfg = dict(max_epochs=40, val_interval=40)
param_scheduler = [dict(type="MultiStepLR", by_epoch=True, milestones=[25, 30, 35], gamma=0.5)]
