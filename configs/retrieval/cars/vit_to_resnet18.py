# python tools/train.py configs/retrieval/cars/vit_to_resnet18.py
"""configs/retrieval/cub/vit_to_resnet18.py on Cars196."""

_base_ = "../cub/vit_to_resnet18.py"

model = dict(
    teacher=dict(
        config="kdkit::retrieval/cars/vit_teacher.py",
        checkpoint="work_dirs/retrieval/cars/vit_teacher/epoch_30.pth",
    ),
)

dataset = dict(type="kd_retrieval.Cars196", data_root="{{$KD_DATA:data}}/cars196/")
train_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_dataloader = test_dataloader
