# python tools/train.py configs/cls/peer_resnet20_6e_caltech100.py
"""ResNet-20 by the student's schedule: first phase of a peer of CKD-MKT."""

_base_ = "../_base_/cls_caltech100.py"

model = dict(network=dict(name="resnet20"))
