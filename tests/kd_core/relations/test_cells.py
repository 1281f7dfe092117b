"""Means over the rows of unequal cells: values, gradients, and what is copied."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from kd_core import attention
from kd_core.relations.cells import cell_bounds, row_means

HALVES = [torch.float16, torch.bfloat16]


class Sizes(TorchDispatchMode):
    """Notes the largest float32 tensor that any operator makes."""

    def __init__(self):
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        is_new = isinstance(found, torch.Tensor) and not found._is_view()
        if is_new and found.dtype == torch.float32 and func.overloadpacket.__name__ != "expand":
            self.largest = max(self.largest, found.numel())
        return found


def feature_of(height, width, dtype, channels=6):
    generator = torch.Generator().manual_seed(height)
    plain = torch.randn(2, channels, height, width, generator=generator)
    return plain.to(dtype).requires_grad_()


def test_two_rows_of_three_by_hand():
    feature = torch.tensor([1.0, 2.0, 6.0]).reshape(1, 1, 3, 1).requires_grad_()
    means = row_means(feature, 2)
    assert means.flatten().tolist() == [1.5, 4.0]
    (gradient,) = torch.autograd.grad(means, feature, torch.tensor([2.0, 8.0]).view_as(means))
    assert gradient.flatten().tolist() == [1.0, 1.0 + 4.0, 4.0]  # the middle row is in both cells


@pytest.mark.parametrize("length, count", [(25, 16), (100, 16), (50, 16), (7, 7), (9, 1), (17, 16)])
def test_cells_are_those_of_torch(length, count):
    found = torch.zeros(count, length)
    for number, (begin, end) in enumerate(cell_bounds(length, count)):
        found[number, begin:end] = 1 / (end - begin)
    rows = torch.eye(length).reshape(1, length, length, 1)  # each channel is 1 in a row
    theirs = F.adaptive_avg_pool2d(rows, (count, 1))[0, :, :, 0].T
    torch.testing.assert_close(found, theirs)
    assert (found > 0).sum(dim=0).max() <= 2


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("size", [(25, 42), (100, 42), (50, 32), (17, 33), (25, 9)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_half_precision_map_is_pooled_as_in_float64(dtype, size, layout, monkeypatch):
    monkeypatch.setattr(attention, "_SMALL", 0)
    feature = feature_of(*size, dtype).detach().to(memory_format=layout).requires_grad_()
    exact = feature.detach().double().requires_grad_()
    grid = (16, min(16, size[1]))
    ours, wanted = attention.pool_to(feature, 16), F.adaptive_avg_pool2d(exact, grid)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), wanted, rtol=1e-6, atol=1e-6)
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(ours, feature, weights)
    (expected,) = torch.autograd.grad(wanted, exact, weights.double())
    assert gradient.dtype == dtype and gradient.is_contiguous(memory_format=layout)
    # Rounded once, from float32
    torch.testing.assert_close(gradient, expected.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-7)


@pytest.mark.parametrize("dtype", HALVES)
def test_no_float32_copy_of_a_large_map_is_made(dtype):
    feature = feature_of(100, 84, dtype, channels=40)
    assert feature.numel() > attention._SMALL
    with Sizes() as sizes:
        attention.pool_to(feature, 16).sum().backward()
    assert 0 < sizes.largest < feature.numel() / 4  # sums of rows: 16 of 100
    plain = feature.detach().float().requires_grad_()
    with Sizes() as sizes:
        attention.pool_to(plain, 16).sum().backward()
    assert sizes.largest >= feature.numel()  # its gradient: the check sees it
