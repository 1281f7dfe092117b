# python tools/train.py configs/retrieval/cub/rkd_student.py
"""RKD protocol: ResNet-18 with 64 dimensions, alone (triplets, distance-weighted)."""

_base_ = "../../_base_/retrieval_rkd.py"
