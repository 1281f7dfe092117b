# python tools/train.py configs/cls/peer_resnet20_12e_fashion_mnist.py
"""ResNet-20 by the student's schedule: first phase of a peer of CKD-MKT."""

_base_ = "../_base_/cls_fashion_mnist.py"

model = dict(network=dict(name="resnet20"))
