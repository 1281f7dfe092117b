"""The Proxy-Anchor protocol on CUB-200-2011, as relaxed contrastive distillation uses it.

After the authors' code (Kim, Kim, Cho and Kwak, "Proxy Anchor Loss for Deep Metric Learning", CVPR
2020; the same, "Embedding Transfer with Label Relaxation for Improved Metric Learning", CVPR 2021).
What differs: no first epochs with a frozen trunk, and one view of an image in a batch where the
students' authors take two.
"""

_base_ = "../../../_base_/embedding.py"

model = dict(
    type="kd_retrieval.Embedder",
    trunk=dict(type="kd_retrieval.TorchvisionTrunk", name="resnet18", weights="IMAGENET1K_V1"),
    pooling="average_max",
    dim=128,
    criterion=dict(
        loss=dict(
            type="ProxyAnchorLoss", num_classes=100, embedding_size=128, margin=0.1, alpha=32
        ),
    ),
)

dataset = dict(type="kd_retrieval.CUB200", data_root="{{$KD_DATA:data}}/CUB_200_2011/")
train_dataloader = dict(
    batch_size=90,
    num_workers=8,
    persistent_workers=True,
    batch_sampler=dict(samples_per_class=2),
    dataset=dict(
        **dataset,
        split="trainval",  # all 100 training classes: the last epoch counts, none is chosen
        transforms=[
            dict(type="RandomResizedCrop", size=224),
            dict(type="RandomHorizontalFlip"),
        ],
    ),
)
test_dataloader = dict(
    batch_size=128,
    num_workers=8,
    dataset=dict(
        **dataset,
        split="test",
        transforms=[dict(type="Resize", size=256), dict(type="CenterCrop", size=224)],
    ),
)
val_dataloader = test_dataloader

max_epochs = 90
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={"criterion.loss.proxies": dict(lr_mult=100.0)}),
)
param_scheduler = [
    dict(type="CosineAnnealingLR", by_epoch=True, T_max=max_epochs, convert_to_iter_based=True)
]

teacher_step = 5  # epochs between two steps of the teacher's learning rate
trained = dict(
    teacher=dict(
        config="kdkit::retrieval/proxy_anchor/teacher+cub",
        checkpoint="work_dirs/retrieval/proxy_anchor/teacher+cub/epoch_60.pth",
    ),
    vit_teacher=dict(
        config="kdkit::retrieval/proxy_anchor/vit_teacher+cub",
        checkpoint="work_dirs/retrieval/proxy_anchor/vit_teacher+cub/epoch_30.pth",
    ),
)
