"""Multiply-adds against numbers worked out by hand."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from kd_engine.cost.macs import count_macs

TOKENS, WIDTH, HEADS, HIDDEN = 16, 32, 4, 64
# q, k, v and the projection; each head's scores and their sum of values
ATTENTION = 4 * TOKENS * WIDTH * WIDTH + 2 * TOKENS * TOKENS * WIDTH


@pytest.mark.parametrize(
    ("layer", "shape", "wanted"),
    [
        (nn.Conv2d(8, 6, 3, padding=1), (1, 8, 10, 10), 100 * 9 * 8 * 6),
        (nn.Conv2d(8, 8, 3, padding=1, groups=4), (1, 8, 10, 10), 100 * 9 * 2 * 8),
        (nn.ConvTranspose2d(8, 6, 2, stride=2), (1, 8, 10, 10), 400 * 8 * 6),
        (nn.Linear(8, 6), (5, 8), 5 * 8 * 6),
        (nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2)), (1, 8, 4, 4), 0),
    ],
    ids=["convolution", "groups", "transposed", "linear", "free"],
)
def test_layers(layer, shape, wanted):
    assert count_macs(layer, lambda: layer(torch.zeros(shape))) == wanted


def test_attention_counts_although_its_kernels_are_fused():
    query = torch.zeros(1, HEADS, TOKENS, WIDTH // HEADS)
    run = lambda: F.scaled_dot_product_attention(query, query, query)  # noqa: E731
    assert count_macs(nn.Identity(), run) == 2 * TOKENS * TOKENS * WIDTH


@pytest.mark.parametrize("need_weights", [True, False])
def test_multihead_attention_counts_in_eval_mode(need_weights):
    layer, tokens = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), torch.zeros(1, 16, 32)
    run = lambda: layer(tokens, tokens, tokens, need_weights=need_weights)  # noqa: E731
    assert torch.backends.mha.get_fastpath_enabled()
    assert count_macs(layer, run) == ATTENTION
    assert torch.backends.mha.get_fastpath_enabled() and layer.training


def test_a_transformer_layer():
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, batch_first=True)
    wanted = ATTENTION + 2 * TOKENS * WIDTH * HIDDEN
    assert count_macs(layer, lambda: layer(torch.zeros(1, TOKENS, WIDTH))) == wanted


@pytest.mark.parametrize("groups", [1, 2])
def test_a_deformable_convolution_counts_like_a_plain_one(groups):
    images, offset = torch.zeros(1, 8, 10, 12), torch.zeros(1, 18, 5, 6)
    weight = torch.zeros(6, 8 // groups, 3, 3)
    run = lambda: torchvision.ops.deform_conv2d(  # noqa: E731
        images, offset, weight, stride=2, padding=1
    )
    assert count_macs(nn.Identity(), run) == 5 * 6 * 9 * (8 // groups) * 6
