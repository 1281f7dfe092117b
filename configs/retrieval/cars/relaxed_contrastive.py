# python tools/train.py configs/retrieval/cars/relaxed_contrastive.py
"""configs/retrieval/cub/relaxed_contrastive.py on Cars196."""

_base_ = "../cub/relaxed_contrastive.py"

model = dict(
    teacher=dict(
        config="kdkit::retrieval/cars/proxy_anchor_teacher.py",
        checkpoint="work_dirs/retrieval/cars/proxy_anchor_teacher/epoch_60.pth",
    ),
)

dataset = dict(type="kd_retrieval.Cars196", data_root="{{$KD_DATA:data}}/cars196/")
train_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_dataloader = test_dataloader
