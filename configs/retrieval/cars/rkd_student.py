# python tools/train.py configs/retrieval/cars/rkd_student.py
"""configs/retrieval/cub/rkd_student.py on Cars196."""

_base_ = "../cub/rkd_student.py"

cars = dict(type="kd_retrieval.Cars196", data_root="{{$KD_DATA:data}}/cars196/")
train_dataloader = dict(dataset=cars)
test_dataloader = dict(dataset=cars)
val_dataloader = test_dataloader
