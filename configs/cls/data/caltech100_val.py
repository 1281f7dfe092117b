"""Caltech-100 to choose on: the training images alone, 3,135 to train on and 1,052 to validate."""

_base_ = "caltech100.py"

train_dataloader = dict(dataset=dict(split="train"))
test_dataloader = dict(dataset=dict(split="val"))
val_dataloader = test_dataloader
trained = {  # the teacher has not seen the validation images either
    phase: dict(
        config=f"kdkit::cls/{phase}+caltech100_val",
        checkpoint=f"work_dirs/cls/{phase}+caltech100_val/epoch_{number}.pth",
    )
    for phase, number in _base_.epochs.items()
}
