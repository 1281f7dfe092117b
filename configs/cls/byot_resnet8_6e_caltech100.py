# python tools/train.py configs/cls/byot_resnet8_6e_caltech100.py
"""BYOT: the earlier stages learn from the network's own last one; there is no teacher."""

_base_ = "../_base_/cls_caltech100.py"

model = dict(_delete_=True, type="kd_cls.BYOT", student={{_base_.model}})
