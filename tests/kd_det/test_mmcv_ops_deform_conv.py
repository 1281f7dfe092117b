"""Deformable convolutions of inputs on which compiled kernels crash, or read past their map."""

import pytest
import torch

import kd_det  # noqa: F401  first: mmdet asks for mmcv's operators
from kd_det.mmcv_ops import provide_ops

# isort: split
from mmcv.ops import deform_conv2d, modulated_deform_conv2d

pytestmark = pytest.mark.skipif(provide_ops() == "compiled", reason="mmcv has compiled operators")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def operands(height=6, width=5):
    image = torch.randn(2, 4, height, width, requires_grad=True)
    weight = torch.randn(3, 4, 3, 3, requires_grad=True)
    return image, weight


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e30])
def test_an_offset_to_nowhere_ends_no_process(value):
    image, weight = operands()
    offset = torch.zeros(2, 18, 6, 5)
    plain = deform_conv2d(image, offset, weight, 1, 1)
    offset[1, 7, 2, 3] = value
    offset.requires_grad_()
    found = deform_conv2d(image, offset, weight, 1, 1)
    changed = (found != plain).any(1).nonzero().tolist()
    assert changed == [[1, 2, 3]]
    assert bool(found.isnan().any()) == (value != value)  # so that a check of the losses sees it
    found.nan_to_num().sum().backward()
    assert image.grad.isfinite().all() and weight.grad.isfinite().all()


def test_a_modulated_offset_to_nowhere_gives_nan_at_its_place():
    image, weight = operands()
    offset, mask = torch.zeros(2, 18, 6, 5), torch.ones(2, 9, 6, 5)
    offset[0, 0, 4, 4] = torch.nan
    found = modulated_deform_conv2d(image, offset, mask, weight, None, 1, 1)
    assert found.isnan().any(1).nonzero().tolist() == [[0, 4, 4]]


def test_offsets_of_a_larger_map_are_a_buffer_of_numbers():
    """mmdet's DyHead gives the offsets of a finer level; mmcv reads them in order."""
    image, weight = operands(4, 4)
    offset, mask = torch.randn(2, 18, 8, 8), torch.rand(2, 9, 8, 8)
    first = [x.flatten(1)[:, : x.shape[1] * 16].reshape(2, -1, 4, 4) for x in (offset, mask)]
    given = [x.clone().requires_grad_() for x in (offset, mask)]
    small = [x.clone().requires_grad_() for x in first]
    found = modulated_deform_conv2d(image, *given, weight, None, 1, 1)
    wanted = modulated_deform_conv2d(image, *small, weight, None, 1, 1)
    assert torch.equal(found, wanted)
    found.square().sum().backward()
    wanted.square().sum().backward()
    for large, one in zip(given, small, strict=True):
        used = one.numel() // 2
        assert torch.equal(large.grad.flatten(1)[:, :used], one.grad.flatten(1))
        assert not large.grad.flatten(1)[:, used:].any() and one.grad.any()


def test_too_few_offsets_are_refused():
    image, weight = operands(6, 6)
    with pytest.raises(ValueError, match=r"output of 6 x 6, but they are \(2, 18, 3, 3\)"):
        deform_conv2d(image, torch.zeros(2, 18, 3, 3), weight, 1, 1)
