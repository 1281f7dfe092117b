"""Caltech-100 at 32 pixels: 4,187 pictures to train on, 1,046 to test; 6 short epochs."""

default_scope = "mmengine"
custom_imports = dict(imports=["kd_cls"])
data_root = "{{$KD_DATA:data}}/caltech100"

# The student: ResNet-8 from scratch, 84,000 parameters.
model = dict(
    type="kd_cls.Classifier",
    network=dict(type="kd_cls.CifarNetwork", name="resnet8", num_classes=100),
    image_size=32,
)

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="kd_cls.Caltech100",
        data_root=data_root,
        split="trainval",  # the last epoch counts, none is chosen
        in_memory=[36, 36],  # 16 MB; decoded once
        transforms=[
            dict(type="RandomCrop", size=32),
            dict(type="RandomHorizontalFlip"),
        ],
    ),
)
test_dataloader = dict(
    batch_size=256,
    num_workers=0,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="kd_cls.Caltech100",
        data_root=data_root,
        split="test",
        in_memory=[36, 36],
        transforms=[dict(type="CenterCrop", size=32)],
    ),
)
val_dataloader = test_dataloader
test_evaluator = dict(type="kd_cls.ClassificationMetric")
val_evaluator = test_evaluator

max_epochs = 6
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True),
)
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
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2),
    logger=dict(type="LoggerHook", interval=10),
)
log_level = "INFO"
randomness = dict(seed=0)
