"""The built-in digits for retrieval: 0 to 5 to train on, 6 to 9 to search. No data is needed."""

default_scope = "mmengine"
custom_imports = dict(imports=["kd_retrieval"])

# The student: ResNet-18 at an eighth of its width and less, from scratch: 138,000 parameters.
model = dict(
    type="kd_retrieval.Embedder",
    trunk=dict(
        type="kd_retrieval.TimmTrunk",
        name="resnet18",
        options=dict(channels=(8, 16, 32, 48)),
    ),
    dim=32,
    criterion=dict(loss=dict(type="ContrastiveLoss", pos_margin=0.2, neg_margin=1.0)),
)

train_dataloader = dict(
    batch_size=48,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="kd_retrieval.MPerClassBatchSampler", samples_per_class=8),
    collate_fn=dict(type="kd_retrieval.collate"),
    dataset=dict(
        type="kd_retrieval.BuiltInDigits",
        split="trainval",  # all 6 training classes: the last epoch counts, none is chosen
        transforms=[
            dict(type="RandomAffine", degrees=10, translate=(0.1, 0.1), scale=(0.85, 1.15)),
        ],
    ),
)
test_dataloader = dict(
    batch_size=128,
    num_workers=0,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="kd_retrieval.collate"),
    dataset=dict(type="kd_retrieval.BuiltInDigits", split="test"),
)
val_dataloader = test_dataloader
test_evaluator = dict(type="kd_retrieval.RecallMetric", ks=(1, 2, 4, 8))
val_evaluator = test_evaluator

max_epochs = 6
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=1e-2),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=20),
    dict(
        type="CosineAnnealingLR",
        eta_min_ratio=0.01,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2),
    logger=dict(type="LoggerHook", interval=10),
)
log_level = "INFO"
randomness = dict(seed=0)
