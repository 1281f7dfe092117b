# python tools/train.py configs/retrieval/cub/proxy_anchor_teacher.py
"""Proxy-Anchor protocol: ResNet-50 with 512 dimensions; batch norms keep ImageNet's statistics."""

_base_ = "../../_base_/retrieval_proxy_anchor.py"

model = dict(
    trunk=dict(name="resnet50"),
    dim=512,
    criterion=dict(loss=dict(embedding_size=512)),
    training=dict(norm_eval=True),
)
train_dataloader = dict(batch_size=120, batch_sampler=None)

max_epochs = 60
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [dict(type="StepLR", by_epoch=True, step_size=5, gamma=0.5)]
