# python tools/train.py configs/cls/teacher_wrn_40_2_240e_cifar100.py
"""WRN-40-2 from scratch, 2.26 M parameters."""

_base_ = "../_base_/cls_cifar100_240e.py"

model = dict(network=dict(name="wrn_40_2"))
