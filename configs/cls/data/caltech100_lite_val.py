"""The pretrained pair on caltech100 to choose on: 3,135 images to train on, 1,052 to validate."""

_base_ = "caltech100_lite.py"

train_dataloader = dict(dataset=dict(split="train"))
test_dataloader = dict(dataset=dict(split="val"))
val_dataloader = test_dataloader
trained = {  # the teacher has not seen the validation images either
    phase: dict(
        config=f"kdkit::cls/{phase}+caltech100_lite_val",
        checkpoint=f"work_dirs/cls/{phase}+caltech100_lite_val/epoch_{number}.pth",
    )
    for phase, number in _base_.epochs.items()
}
