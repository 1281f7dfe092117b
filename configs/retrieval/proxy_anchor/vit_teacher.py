# kdkit train kdkit::retrieval/proxy_anchor/vit_teacher+cub
"""Proxy-Anchor protocol: a vision transformer, ViT-S/16, ImageNet-21k weights of timm."""

_base_ = "data/cub.py"

model = dict(
    trunk=dict(
        _delete_=True,
        type="kd_retrieval.TimmTrunk",
        name="vit_small_patch16_224.augreg_in21k",
        pretrained=True,
    ),
    pooling="token",
    dim=384,
    criterion=dict(loss=dict(embedding_size=384)),
    data_preprocessor=dict(  # what these weights expect
        type="ImgDataPreprocessor", mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]
    ),
)
optim_wrapper = dict(optimizer=dict(lr=1e-5))
train_cfg = dict(max_epochs=30, val_interval=30)
param_scheduler = [
    dict(type="CosineAnnealingLR", by_epoch=True, T_max=30, convert_to_iter_based=True)
]
