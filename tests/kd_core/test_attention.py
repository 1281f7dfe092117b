import math

import pytest
import torch

from kd_core import attention
from kd_core.relations import gram as map_products

FUNCTIONS = [
    attention.activation_attention,
    attention.position_attention,
    attention.position_softmax_attention,
    attention.spatial_attention,
    attention.channel_attention,
    attention.channel_correlation,
    attention.channel_softmax_attention,
    attention.pooled_channels,
    attention.unit_channels,
]


def test_shapes():
    feature = torch.randn(2, 5, 6, 4)
    shapes = [tuple(function(feature).shape) for function in FUNCTIONS]
    square, channels = (2, 24, 24), (2, 5, 5)
    assert shapes == [
        (2, 24),
        square,
        square,
        (2, 24),
        channels,
        channels,
        channels,
        (2, 5),
        (2, 5),
    ]
    assert attention.position_attention(feature, side=3).shape == (2, 9, 9)
    assert attention.position_attention(feature, side=5).shape == (2, 20, 20)


def test_unit_rows_and_sums():
    feature = torch.randn(2, 5, 6, 4)
    ones = torch.ones(2, 24)
    torch.testing.assert_close(attention.activation_attention(feature).norm(dim=1), ones[:, 0])
    cosines = attention.position_attention(feature)
    torch.testing.assert_close(cosines.diagonal(dim1=1, dim2=2), ones)
    torch.testing.assert_close(cosines, cosines.transpose(1, 2))
    torch.testing.assert_close(attention.position_softmax_attention(feature).sum(2), ones)
    torch.testing.assert_close(attention.spatial_attention(feature).mean(1), ones[:, 0])
    channels = attention.channel_attention(feature)
    torch.testing.assert_close(channels.diagonal(dim1=1, dim2=2), ones[:, :5])
    torch.testing.assert_close(attention.channel_correlation(feature).norm(dim=2), ones[:, :5])
    torch.testing.assert_close(attention.channel_softmax_attention(feature).sum(2), ones[:, :5])


def test_danet_attends_most_to_the_channels_that_are_least_alike():
    """softmax(max - X X^T), worked out by hand."""
    # X = (sqrt(ln 3), 0): X X^T = ((ln 3, 0), (0, 0)); row 0 is softmax(0, ln 3).
    two = torch.tensor([math.log(3) ** 0.5, 0.0]).reshape(1, 2, 1, 1)
    expected = torch.tensor([[[0.25, 0.75], [0.5, 0.5]]])
    torch.testing.assert_close(attention.channel_softmax_attention(two), expected)
    # X = sqrt(ln 2) * (1, -1, 2): X X^T = ln 2 * ((1, -1, 2), (-1, 1, -2), (2, -2, 4)).
    # Weights 2^-entry: (1/2, 2, 1/4), (2, 1/2, 4), (1/4, 4, 1/16).
    three = math.log(2) ** 0.5 * torch.tensor([1.0, -1.0, 2.0]).reshape(1, 3, 1, 1)
    expected = torch.tensor([[2 / 11, 8 / 11, 1 / 11], [4 / 13, 1 / 13, 8 / 13],
                             [4 / 69, 64 / 69, 1 / 69]])  # fmt: skip
    torch.testing.assert_close(attention.channel_softmax_attention(three)[0], expected)


def test_position_softmax_is_scaled_by_the_root_of_the_channels():
    """softmax(X^T X / sqrt(C)), worked out by hand."""
    # C = 4, X = (sqrt(2 ln 3), 0, 0, 0) and 0: X^T X / 2 = ((ln 3, 0), (0, 0)).
    feature = torch.zeros(1, 4, 1, 2)
    feature[0, 0, 0, 0] = (2 * math.log(3)) ** 0.5
    expected = torch.tensor([[[0.75, 0.25], [0.5, 0.5]]])
    torch.testing.assert_close(attention.position_softmax_attention(feature), expected)


@pytest.mark.parametrize("function", [attention.position_attention, attention.channel_attention])
def test_cosines_do_not_depend_on_the_scale(function):
    torch.manual_seed(0)
    feature = torch.randn(2, 5, 3, 4)
    torch.testing.assert_close(function(1e-8 * feature), function(feature))


def test_grids_have_at_most_sixteen_positions_a_side_by_default():
    feature = torch.randn(1, 2, 18, 17)
    assert attention.position_attention(feature).shape == (1, 256, 256)
    assert attention.position_softmax_attention(feature).shape == (1, 256, 256)
    assert attention.spatial_attention(feature).shape == (1, 256)


def test_half_precision_is_pooled_in_float32():
    """Cells of 4 x 4 ones times 5000: their sum 80000 is more than float16 holds."""
    feature = torch.full((1, 2, 8, 8), 5000.0, dtype=torch.float16)
    assert torch.equal(attention.pool_to(feature, 2), torch.full((1, 2, 2, 2), 5000.0))
    vectors = torch.tensor([[0.1, 2.0]], dtype=torch.float16)
    assert torch.equal(attention.channel_vectors(vectors), vectors.float())
    assert attention.channel_vectors(vectors).dtype == torch.float32


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_own_gradients_are_those_of_the_plain_formulas(power, layout):
    torch.manual_seed(0)
    feature = torch.randn(2, 5, 3, 4).contiguous(memory_format=layout).requires_grad_()
    rows = feature.flatten(2)
    units = torch.nn.functional.normalize(rows, dim=2)
    pairs = [
        (attention.activation_map(feature, power), feature.abs().pow(power).mean(1)),
        (attention.channel_attention(feature), units @ units.transpose(1, 2)),
    ]
    for ours, plain in pairs:
        weights = torch.randn_like(plain)
        (gradient,) = torch.autograd.grad((ours * weights).sum(), feature)
        (expected,) = torch.autograd.grad((plain * weights).sum(), feature, retain_graph=True)
        torch.testing.assert_close(ours, plain)
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_channels_in_chunks_add_up(power, monkeypatch):
    monkeypatch.setattr(map_products, "_CACHE_ELEMENTS", 2 * 6)  # two channels of 6 at a time
    feature = torch.arange(1.0, 6.0).reshape(1, 5, 1, 1).expand(1, 5, 2, 3)
    expected = {1.0: 15.0, 2.0: 55.0, 3.0: 225.0}[power] / 5
    assert torch.equal(attention.activation_map(feature, power), torch.full((1, 2, 3), expected))


@pytest.mark.parametrize("side", [(4, 3), (8, 6), (8, 3), (5, 3), (3, 4)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pooling_is_adaptive_average_pooling(side, layout):
    torch.manual_seed(0)
    feature = torch.randn(2, 3, 8, 12).contiguous(memory_format=layout).requires_grad_()
    ours = attention.pool_to(feature, side)
    plain = torch.nn.functional.adaptive_avg_pool2d(feature, side)
    weights = torch.randn_like(plain)
    (gradient,) = torch.autograd.grad((ours * weights).sum(), feature)
    (expected,) = torch.autograd.grad((plain * weights).sum(), feature)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("images", "chunk"), [(6, 70), (1, 30)])  # an image is 60
def test_half_precision_in_chunks_is_computed_in_float32(function, images, chunk, monkeypatch):
    monkeypatch.setattr(map_products, "_CHUNK_ELEMENTS", chunk)
    feature = torch.randn(images, 5, 3, 4, dtype=torch.float16, requires_grad=True)
    single = feature.detach().float().requires_grad_()
    ours, expected = function(feature), function(single)
    weights = torch.randn_like(expected)
    (ours * weights).sum().backward()
    (expected * weights).sum().backward()
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, expected)
    limit = 2e-3 * single.grad.abs().max().item()
    torch.testing.assert_close(feature.grad.float(), single.grad, rtol=2e-3, atol=limit)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_wrong_shape_is_named(function):
    with pytest.raises(ValueError, match=r"must be a feature map.*\(3, 4, 5\)"):
        function(torch.randn(3, 4, 5))
    with pytest.raises(ValueError, match=r"must not be empty.*\(0, 4, 5, 5\)"):
        function(torch.randn(0, 4, 5, 5))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_zeros_are_finite(function):
    feature = torch.zeros(2, 5, 3, 4, requires_grad=True)
    value = function(feature)
    value.sum().backward()
    assert torch.isfinite(value).all() and torch.isfinite(feature.grad).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(ValueError, match=f"temperature must be .*{temperature}"):
        attention.spatial_attention(torch.ones(1, 2, 3, 3), temperature=temperature)
