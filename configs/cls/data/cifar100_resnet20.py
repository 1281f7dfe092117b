"""CIFAR-100 by RepDistiller's protocol: ResNet-56, 0.86 M parameters, -> ResNet-20, 0.28 M."""

_base_ = "cifar100.py"

model = dict(network=dict(name="resnet20"))
teacher = dict(network=dict(name="resnet56"))
channels = 64  # of the last stage
simkd = dict(channels=64, num_features=64)  # of the last maps of student and teacher
trained = {
    phase: dict(
        config=f"kdkit::cls/{phase}+cifar100_resnet20",
        checkpoint=f"work_dirs/cls/{phase}+cifar100_resnet20/epoch_{number}.pth",
    )
    for phase, number in _base_.epochs.items()
}
trained["peer"] = trained["teacher"]
tuned = dict(dkd=dict(_delete_=True))  # those of cifar100.py are for its pair
