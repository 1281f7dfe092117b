# kdkit train kdkit::retrieval/rkd_protocol/student+cub
"""RKD protocol: ResNet-18 with 64 dimensions, alone (triplets, distance-weighted)."""

_base_ = "data/cub.py"
