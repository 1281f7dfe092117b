# python tools/train.py configs/retrieval/cars/vit_teacher.py
"""configs/retrieval/cub/vit_teacher.py on Cars196."""

_base_ = "../cub/vit_teacher.py"

model = dict(
    criterion=dict(loss=dict(num_classes=98)),
)

dataset = dict(type="kd_retrieval.Cars196", data_root="{{$KD_DATA:data}}/cars196/")
train_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_dataloader = test_dataloader
