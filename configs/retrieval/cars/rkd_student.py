# python tools/train.py configs/retrieval/cars/rkd_student.py
"""configs/retrieval/cub/rkd_student.py on Cars196."""

_base_ = "../cub/rkd_student.py"

dataset = dict(type="kd_retrieval.Cars196", data_root="{{$KD_DATA:data}}/cars196/")
train_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_dataloader = test_dataloader
