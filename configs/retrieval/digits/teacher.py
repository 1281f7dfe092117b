# python tools/train.py configs/retrieval/digits/teacher.py
"""ResNet-18 at half its width, from scratch: 2.8 million parameters."""

_base_ = "../../_base_/retrieval_digits.py"

model = dict(trunk=dict(options=dict(channels=(32, 64, 128, 256))), dim=None)
