# kdkit train kdkit::retrieval/proxy_anchor/teacher+cub
"""Proxy-Anchor protocol: ResNet-50 with 512 dimensions; batch norms keep ImageNet's statistics."""

_base_ = "data/cub.py"

model = dict(
    trunk=dict(name="resnet50"),
    dim=512,
    criterion=dict(loss=dict(embedding_size=512)),
    training=dict(norm_eval=True),
)
train_dataloader = dict(batch_size=120, batch_sampler=None)
train_cfg = dict(max_epochs=60, val_interval=60)
param_scheduler = [dict(type="StepLR", by_epoch=True, step_size=_base_.teacher_step, gamma=0.5)]
