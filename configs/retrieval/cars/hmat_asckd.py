# python tools/train.py configs/retrieval/cars/hmat_asckd.py
"""configs/retrieval/cub/hmat_asckd.py on Cars196."""

_base_ = "../cub/hmat_asckd.py"

model = dict(
    student=dict(criterion=dict(loss=dict(num_classes=98))),
    teacher=dict(
        config="kdkit::retrieval/cars/proxy_anchor_teacher.py",
        checkpoint="work_dirs/retrieval/cars/proxy_anchor_teacher/epoch_60.pth",
    ),
)

dataset = dict(type="kd_retrieval.Cars196", data_root="{{$KD_DATA:data}}/cars196/")
train_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_dataloader = test_dataloader
