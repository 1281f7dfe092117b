"""The protocol of relational knowledge distillation on Cars196; see cub.py."""

_base_ = "cub.py"

dataset = dict(type="kd_retrieval.Cars196", data_root="{{$KD_DATA:data}}/cars196/")
train_dataloader = dict(dataset=dataset)  # 98 training classes
test_dataloader = dict(dataset=dataset)
val_dataloader = test_dataloader

trained = dict(
    teacher=dict(
        config="kdkit::retrieval/rkd_protocol/teacher+cars",
        checkpoint="work_dirs/retrieval/rkd_protocol/teacher+cars/epoch_40.pth",
    ),
)
