"""CIFAR-100 by CCSKD's protocol: ResNet-34 -> ResNet-18, 200 epochs, batches of 128."""

_base_ = "cifar100.py"

# With a 3x3 stem: ResNet-18, 11.2 M parameters, under ResNet-34, 21.3 M.
model = dict(network=dict(name="resnet18"))
teacher = dict(network=dict(name="resnet34"))
stages = ["network.stage1", "network.stage2", "network.stage3", "network.stage4"]
branch = ["network.stage4", "network.last", "network.pool", "network.classifier"]
channels = 512  # of the last stage
simkd = dict(channels=512, num_features=512)  # of the last maps of student and teacher

train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=0.1))
train_cfg = dict(max_epochs=200)
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=True, milestones=[60, 120, 160], gamma=0.2),
]
epochs = dict(student=200, teacher=200, heads=20)
schedules = dict(teacher=dict(train_cfg=train_cfg, param_scheduler=param_scheduler))
trained = {
    phase: dict(
        config=f"kdkit::cls/{phase}+cifar100_resnet18",
        checkpoint=f"work_dirs/cls/{phase}+cifar100_resnet18/epoch_{number}.pth",
    )
    for phase, number in epochs.items()
}
trained["peer"] = trained["teacher"]

ccskd = dict()  # the authors' schedule
tuned = dict(dkd=dict(_delete_=True))  # those of cifar100.py are for its pair
