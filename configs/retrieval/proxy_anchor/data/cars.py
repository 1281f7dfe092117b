"""The Proxy-Anchor protocol on Cars196; see cub.py."""

_base_ = "cub.py"

model = dict(criterion=dict(loss=dict(num_classes=98)))
dataset = dict(type="kd_retrieval.Cars196", data_root="{{$KD_DATA:data}}/cars196/")
train_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_dataloader = test_dataloader

teacher_step = 10  # epochs between two steps of the teacher's learning rate
trained = dict(
    teacher=dict(
        config="kdkit::retrieval/proxy_anchor/teacher+cars",
        checkpoint="work_dirs/retrieval/proxy_anchor/teacher+cars/epoch_60.pth",
    ),
    vit_teacher=dict(
        config="kdkit::retrieval/proxy_anchor/vit_teacher+cars",
        checkpoint="work_dirs/retrieval/proxy_anchor/vit_teacher+cars/epoch_30.pth",
    ),
)
