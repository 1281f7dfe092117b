"""Caltech-100 at 32 pixels: 4,187 images to train on, 1,046 to test; 6 short epochs."""

_base_ = "../../_base_/classification.py"
data_root = "{{$KD_DATA:data}}/caltech100"

# ResNet-8, 84,000 parameters, under ResNet-20, 278,000; both from scratch.
model, assistant, teacher = (
    dict(
        type="kd_cls.Classifier",
        network=dict(type="kd_cls.CifarNetwork", name=name, num_classes=100),
        image_size=32,
    )
    for name in ("resnet8", "resnet14", "resnet20")
)

train_dataloader = dict(
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
    dataset=dict(
        type="kd_cls.Caltech100",
        data_root=data_root,
        split="test",
        in_memory=[36, 36],
        transforms=[dict(type="CenterCrop", size=32)],
    ),
)
val_dataloader = test_dataloader

epochs = dict(student=6, peer=6, teacher=40, heads=4)
schedules = {
    phase: dict(
        train_cfg=dict(max_epochs=number, val_interval=number),
        param_scheduler=[
            dict(
                type="CosineAnnealingLR",
                eta_min=0.0,
                by_epoch=True,
                begin=0,
                end=number,
                convert_to_iter_based=True,
            ),
        ],
    )
    for phase, number in epochs.items()
}
train_cfg = schedules["student"]["train_cfg"]
param_scheduler = schedules["student"]["param_scheduler"]
trained = {  # what other configs take up
    phase: dict(
        config=f"kdkit::cls/{phase}+caltech100",
        checkpoint=f"work_dirs/cls/{phase}+caltech100/epoch_{number}.pth",
    )
    for phase, number in epochs.items()
}

# ResNet-8 has one block in a stage, ResNet-20 three; residual.4 is the batch norm before the sum.
ofd = dict(
    norms=[f"network.stage{number}.2.residual.4" for number in (1, 2, 3)],
    layers=[f"network.stage{number}.0.before_relu" for number in (1, 2, 3)],
    teacher_layers=[f"network.stage{number}.2.before_relu" for number in (1, 2, 3)],
)
simkd = dict(channels=64, num_features=64)  # of the last maps of student and teacher
samples = 5233  # ids of all images, for CRD
# The authors' schedule for 200 epochs, at about the same shares of 6: 60, 160 and 30 of 200.
ccskd = dict(start=2, decay=[2, 5], every=1)
# Chosen on the validation images of fashion_mnist, CA-MKD's on this set's own (25, 2.5 or 0.25).
tuned = dict(
    fitnets=dict(weight=10.0),  # a tenth of RepDistiller's
    fsp=dict(weight=5.0),  # a tenth of RepDistiller's, which diverges there
    distance=dict(weight=2.5),  # a tenth of RepDistiller's
    angle=dict(weight=5.0),  # a tenth of RepDistiller's
    sp=dict(weight=300.0),  # a tenth of RepDistiller's
    camkd=dict(beta=0.25),  # a hundredth of the authors', which harms
)
