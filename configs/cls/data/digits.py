"""The built-in digits for classification: 1,438 to train on, 359 to test. No data is needed."""

_base_ = "../../_base_/classification.py"

# ResNet-8, 78,000 parameters, under ResNet-20, 272,000; both from scratch.
model, assistant, teacher = (
    dict(
        type="kd_cls.Classifier",
        network=dict(type="kd_cls.CifarNetwork", name=name, num_classes=10),
        image_size=32,
        data_preprocessor=dict(
            type="ImgDataPreprocessor", mean=[78.8] * 3, std=[88.9] * 3
        ),  # of the enlarged training images
    )
    for name in ("resnet8", "resnet14", "resnet20")
)

train_dataloader = dict(
    dataset=dict(
        type="kd_cls.BuiltInDigits",
        split="trainval",  # the last epoch counts, none is chosen
        transforms=[
            dict(type="RandomCrop", size=32, padding=4),  # as for CIFAR; digits are not flipped
        ],
    ),
)
test_dataloader = dict(
    batch_size=128,
    dataset=dict(type="kd_cls.BuiltInDigits", split="test"),
)
val_dataloader = test_dataloader

epochs = dict(student=6, teacher=6, heads=2)
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
        config=f"kdkit::cls/{phase}+digits",
        checkpoint=f"work_dirs/cls/{phase}+digits/epoch_{number}.pth",
    )
    for phase, number in epochs.items()
}
trained["peer"] = trained["teacher"]  # its schedule is the student's

# ResNet-8 has one block in a stage, ResNet-20 three; residual.4 is the batch norm before the sum.
ofd = dict(
    norms=[f"network.stage{number}.2.residual.4" for number in (1, 2, 3)],
    layers=[f"network.stage{number}.0.before_relu" for number in (1, 2, 3)],
    teacher_layers=[f"network.stage{number}.2.before_relu" for number in (1, 2, 3)],
)
simkd = dict(channels=64, num_features=64)  # of the last maps of student and teacher
samples = 1797  # ids of training and test images, for CRD
# The authors' schedule for 200 epochs, at the same shares of 6: 60, 160 and 30 of 200.
ccskd = dict(start=2, decay=[2, 5], every=1)
