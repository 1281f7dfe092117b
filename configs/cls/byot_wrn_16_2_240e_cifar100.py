# python tools/train.py configs/cls/byot_wrn_16_2_240e_cifar100.py
"""BYOT: the earlier stages learn from the network's own last one; there is no teacher."""

_base_ = "../_base_/cls_cifar100_240e.py"

model = dict(_delete_=True, type="kd_cls.BYOT", student={{_base_.model}})
