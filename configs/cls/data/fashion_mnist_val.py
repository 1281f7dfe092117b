"""Fashion-MNIST to choose on: 1,800 of the 2,000 training images, and the other 200 to validate."""

_base_ = "fashion_mnist.py"

train_dataloader = dict(dataset=dict(split="train"))
test_dataloader = dict(dataset=dict(split="val", limit=2000))
val_dataloader = test_dataloader
trained = {  # the teacher has not seen the validation images either
    phase: dict(
        config=f"kdkit::cls/{phase}+fashion_mnist_val",
        checkpoint=f"work_dirs/cls/{phase}+fashion_mnist_val/epoch_{number}.pth",
    )
    for phase, number in _base_.epochs.items()
}
