# python tools/train.py configs/retrieval/cars/proxy_anchor_student.py
"""configs/retrieval/cub/proxy_anchor_student.py on Cars196."""

_base_ = "../cub/proxy_anchor_student.py"

model = dict(
    criterion=dict(loss=dict(num_classes=98)),
)

dataset = dict(type="kd_retrieval.Cars196", data_root="{{$KD_DATA:data}}/cars196/")
train_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_dataloader = test_dataloader
