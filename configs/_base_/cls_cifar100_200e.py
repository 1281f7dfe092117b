"""CIFAR-100 by CCSKD's protocol: 200 epochs, batches of 128."""

default_scope = "mmengine"
custom_imports = dict(imports=["kd_cls"])
data_root = "{{$KD_DATA:data}}/cifar100"

# The student: ResNet-18 with a 3x3 stem, 11.2 M parameters.
model = dict(
    type="kd_cls.Classifier",
    network=dict(type="kd_cls.CifarNetwork", name="resnet18", num_classes=100),
    image_size=32,
    data_preprocessor=dict(
        type="ImgDataPreprocessor",
        mean=[129.3, 124.1, 112.4],  # RepDistiller's 0.5071, 0.4867, 0.4408 times 255
        std=[68.2, 65.4, 70.4],  # 0.2675, 0.2565, 0.2761
    ),
)

train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="kd_cls.CIFAR100",
        data_root=data_root,
        split="trainval",
        transforms=[
            dict(type="RandomCrop", size=32, padding=4),
            dict(type="RandomHorizontalFlip"),
        ],
    ),
)
test_dataloader = dict(
    batch_size=256,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
    dataset=dict(type="kd_cls.CIFAR100", data_root=data_root, split="test"),
)
val_dataloader = test_dataloader
test_evaluator = dict(type="kd_cls.ClassificationMetric")
val_evaluator = test_evaluator

max_epochs = 200
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=5e-4),
)
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=True, milestones=[60, 120, 160], gamma=0.2),
]
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=10, max_keep_ckpts=2),
    logger=dict(type="LoggerHook", interval=100),
)
log_level = "INFO"
randomness = dict(seed=0)
