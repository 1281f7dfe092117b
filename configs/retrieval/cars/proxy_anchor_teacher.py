# python tools/train.py configs/retrieval/cars/proxy_anchor_teacher.py
"""configs/retrieval/cub/proxy_anchor_teacher.py on Cars196."""

_base_ = "../cub/proxy_anchor_teacher.py"

model = dict(
    criterion=dict(loss=dict(num_classes=98)),
)

dataset = dict(type="kd_retrieval.Cars196", data_root="{{$KD_DATA:data}}/cars196/")
train_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_dataloader = test_dataloader
param_scheduler = [dict(type="StepLR", by_epoch=True, step_size=10, gamma=0.5)]
