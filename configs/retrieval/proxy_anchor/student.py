# kdkit train kdkit::retrieval/proxy_anchor/student+cub
"""Proxy-Anchor protocol: ResNet-18 with 128 dimensions, alone."""

_base_ = "data/cub.py"
