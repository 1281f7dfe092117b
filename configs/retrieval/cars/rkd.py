# python tools/train.py configs/retrieval/cars/rkd.py
"""configs/retrieval/cub/rkd.py on Cars196."""

_base_ = "../cub/rkd.py"

model = dict(
    teacher=dict(
        config="kdkit::retrieval/cars/rkd_teacher.py",
        checkpoint="work_dirs/retrieval/cars/rkd_teacher/epoch_40.pth",
    ),
)

dataset = dict(type="kd_retrieval.Cars196", data_root="{{$KD_DATA:data}}/cars196/")
train_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_dataloader = test_dataloader
