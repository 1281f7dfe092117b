"""Fashion-MNIST for classification: 2,000 images to train on, 10,000 to test; 12 short epochs."""

default_scope = "mmengine"
custom_imports = dict(imports=["kd_cls"])
data_root = "{{$KD_DATA:data}}/fashion_mnist"

# The student: ResNet-8 from scratch, 78,000 parameters.
model = dict(
    type="kd_cls.Classifier",
    network=dict(type="kd_cls.CifarNetwork", name="resnet8", num_classes=10),
    image_size=32,
    data_preprocessor=dict(
        type="ImgDataPreprocessor", mean=[72.9] * 3, std=[90.0] * 3
    ),  # of the published training images, 28 x 28
)

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="kd_cls.FashionMNIST",
        data_root=data_root,
        split="trainval",  # the last epoch counts, none is chosen
        limit=2000,
        transforms=[
            dict(type="Pad", padding=2),  # 28 to 32 pixels
            dict(type="RandomCrop", size=32, padding=4),
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
        type="kd_cls.FashionMNIST",
        data_root=data_root,
        split="test",
        transforms=[dict(type="Pad", padding=2)],
    ),
)
val_dataloader = test_dataloader
test_evaluator = dict(type="kd_cls.ClassificationMetric")
val_evaluator = test_evaluator

max_epochs = 12
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
