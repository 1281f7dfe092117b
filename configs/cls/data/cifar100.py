"""CIFAR-100 by RepDistiller's protocol: WRN-40-2 -> WRN-16-2, 240 epochs, batches of 64."""

_base_ = "../../_base_/classification.py"
data_root = "{{$KD_DATA:data}}/cifar-100-binary"

# WRN-16-2, 0.70 M parameters, under WRN-40-2, 2.26 M; both from scratch.
model, teacher = (
    dict(
        type="kd_cls.Classifier",
        network=dict(type="kd_cls.CifarNetwork", name=name, num_classes=100),
        image_size=32,
        data_preprocessor=dict(
            type="ImgDataPreprocessor",
            mean=[129.3, 124.1, 112.4],  # RepDistiller's 0.5071, 0.4867, 0.4408 times 255
            std=[68.2, 65.4, 70.4],  # 0.2675, 0.2565, 0.2761
        ),
    )
    for name in ("wrn_16_2", "wrn_40_2")
)
channels = 128  # of the last stage
simkd = dict(channels=128, num_features=128)  # of the last maps of student and teacher

train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
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
    num_workers=2,
    persistent_workers=True,
    dataset=dict(type="kd_cls.CIFAR100", data_root=data_root, split="test"),
)
val_dataloader = test_dataloader

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="SGD", lr=0.05, momentum=0.9, weight_decay=5e-4),
)  # lr=0.01 for MobileNetV2 and ShuffleNets, as there
default_hooks = dict(checkpoint=dict(interval=10), logger=dict(interval=100))
train_cfg = dict(max_epochs=240, val_interval=1)
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=True, milestones=[150, 180, 210], gamma=0.1),
]
epochs = dict(student=240, teacher=240, heads=20)
schedules = dict(
    teacher=dict(train_cfg=train_cfg, param_scheduler=param_scheduler),
    heads=dict(  # our choice: the heads alone converge faster than a network
        train_cfg=dict(max_epochs=20, val_interval=20),
        param_scheduler=[dict(type="MultiStepLR", by_epoch=True, milestones=[12, 16], gamma=0.1)],
    ),
)
trained = {  # what other configs take up
    phase: dict(
        config=f"kdkit::cls/{phase}+cifar100",
        checkpoint=f"work_dirs/cls/{phase}+cifar100/epoch_{number}.pth",
    )
    for phase, number in epochs.items()
}
trained["peer"] = trained["teacher"]  # its schedule is the student's

samples = 50000  # for CRD
tuned = dict(
    student_of_kd=dict(loss_weight=0.1),  # RepDistiller's, of cross-entropy
    kd=dict(weight=0.9),  # RepDistiller's, besides 0.1 of cross-entropy
    crd=dict(loss=dict(type="kd_core.losses.CRDLoss", samples=samples)),
    # weights 1 and 6, and the warm-up: the authors' for this pair (mdistiller)
    dkd=dict(
        loss=dict(
            type="kd_core.losses.DKDLoss", target_weight=1.0, others_weight=6.0, temperature=4.0
        ),
        schedule=dict(type="kd_core.schedules.LinearWarmup", end=20, unit="epoch"),
    ),
)
