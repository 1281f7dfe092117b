# python tools/train.py configs/retrieval/cub/proxy_anchor_student.py
"""Proxy-Anchor protocol: ResNet-18 with 128 dimensions, alone."""

_base_ = "../../_base_/retrieval_proxy_anchor.py"
