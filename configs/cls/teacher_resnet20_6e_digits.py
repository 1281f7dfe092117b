# python tools/train.py configs/cls/teacher_resnet20_6e_digits.py
"""ResNet-20 from scratch, 272,000 parameters."""

_base_ = "../_base_/cls_digits.py"

model = dict(network=dict(name="resnet20"))
