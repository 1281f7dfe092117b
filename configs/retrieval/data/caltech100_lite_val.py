"""The pretrained pair on caltech100 to choose on: 40 training classes against the other 10."""

_base_ = "caltech100_lite.py"

train_dataloader = dict(dataset=dict(split="train"))
test_dataloader = dict(dataset=dict(split="val"))
val_dataloader = test_dataloader
trained = dict(teacher=dict(config="kdkit::retrieval/teacher+caltech100_lite_val"))
