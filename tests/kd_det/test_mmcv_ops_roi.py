import math

import pytest
import torch
from torchvision import ops as reference

from kd_det.mmcv_ops import provide_ops

pytestmark = pytest.mark.skipif(provide_ops() == "compiled", reason="mmcv has compiled operators")

# Inside, over the edges, thin, outside the map, without area; exact in half precision.
ROIS = torch.tensor(
    [
        [0, 1.25, 2.5, 9.75, 13.5],
        [1, -3.0, -2.25, 6.5, 5.0],
        [1, 8.0, 9.0, 21.5, 19.0],
        [0, 4.25, 1.0, 4.75, 12.0],
        [0, 40.0, 40.0, 50.0, 50.0],
        [1, 6.5, 6.5, 6.5, 6.5],
    ],
    dtype=torch.float64,
)


def features(seed=0):
    x = torch.randn(2, 3, 7, 6, generator=torch.manual_seed(seed), dtype=torch.float64)
    return x.requires_grad_()


def sample(image, y, x):
    """The map's bilinear value: pixels up to one outside read the edge, farther ones zero."""
    height, width = image.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return image.new_zeros(len(image))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    total = 0.0
    for row in {top, min(top + 1, height - 1)}:
        for column in {left, min(left + 1, width - 1)}:
            total = total + image[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def points(start, extent, count, index, ratio):
    number = ratio if ratio > 0 else math.ceil(extent / count)
    return [start + (index + (i + 0.5) / number) * extent / count for i in range(number)]


def roi_align_loop(x, rois, size, scale, ratio, mode, aligned):
    output = []
    for batch, *box in rois.tolist():
        x1, y1, x2, y2 = (c * scale - (0.5 if aligned else 0.0) for c in box)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        for i in range(size[0]):
            for j in range(size[1]):
                ys = points(y1, height, size[0], i, ratio)
                xs = points(x1, width, size[1], j, ratio)
                values = [sample(x[int(batch)], y, x_at) for y in ys for x_at in xs]
                values = torch.stack(values or [x.new_zeros(x.shape[1])])
                output.append(values.mean(0) if mode == "avg" else values.max(0).values)
    return torch.stack(output).view(len(rois), *size, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align_and_gradient(mode, ratio, aligned):
    from mmcv.ops import RoIAlign

    x = features()
    layer = RoIAlign((2, 3), 0.5, ratio, mode, aligned)
    expected = roi_align_loop(x, ROIS, (2, 3), 0.5, ratio, mode, aligned)
    output = layer(x, ROIS)
    torch.testing.assert_close(output, expected)
    weight = torch.randn(output.shape, generator=torch.manual_seed(1), dtype=torch.float64)
    wanted, got = (torch.autograd.grad((y * weight).sum(), x)[0] for y in (expected, output))
    assert wanted.abs().sum() > 0
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.float16, 1e-2), (torch.bfloat16, 6e-2)],
)
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align_other_precisions(mode, dtype, tolerance):
    from mmcv.ops import roi_align

    x = features().detach().to(dtype).requires_grad_()
    rois = ROIS[:4].to(dtype)
    exact = x.detach().double().requires_grad_()
    expected = roi_align_loop(exact, rois, (2, 2), 0.5, 2, mode, True)
    output = roi_align(x, rois, (2, 2), 0.5, 2, mode, True)
    assert output.dtype == dtype
    torch.testing.assert_close(output.double(), expected, atol=tolerance, rtol=tolerance)
    output.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(x.grad.double(), exact.grad, atol=3 * tolerance, rtol=tolerance)


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align_in_parts_is_the_same(mode, monkeypatch):
    from mmcv.ops import roi_align

    import kd_det.mmcv_ops.roi_align as module

    x = features()
    whole = roi_align(x, ROIS, (2, 2), 0.5, 2, mode, True)
    monkeypatch.setattr(module, "_CHUNK", 1)
    torch.testing.assert_close(roi_align(x, ROIS, (2, 2), 0.5, 2, mode, True), whole)


def roi_pool_loop(x, rois, size, scale):
    height, width = x.shape[2:]
    output = []
    for batch, x1, y1, x2, y2 in rois.tolist():
        left, top, right, bottom = (c * scale for c in (x1, y1, x2 + 1, y2 + 1))
        rows, columns = (bottom - top) / size[0], (right - left) / size[1]
        for i in range(size[0]):
            for j in range(size[1]):
                low_y = min(max(math.floor(i * rows + top), 0), height)
                high_y = min(max(math.ceil((i + 1) * rows + top), 0), height)
                low_x = min(max(math.floor(j * columns + left), 0), width)
                high_x = min(max(math.ceil((j + 1) * columns + left), 0), width)
                empty = high_y <= low_y or high_x <= low_x or rows <= 0 or columns <= 0
                region = x[int(batch), :, low_y:high_y, low_x:high_x].flatten(1)
                output.append(x.new_zeros(x.shape[1]) if empty else region.max(1).values)
    return torch.stack(output).view(len(rois), *size, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize("scale", [0.5, 1.0, 0.3])
def test_roi_pool_and_gradient(scale):
    from mmcv.ops import RoIPool

    inverted = torch.tensor([[0, 9.0, 9.0, 3.0, 3.0]], dtype=torch.float64)
    x, rois = features(), torch.cat([ROIS, inverted])
    expected = roi_pool_loop(x, rois, (3, 2), scale)
    output = RoIPool((3, 2), scale)(x, rois)
    torch.testing.assert_close(output, expected)
    weight = torch.randn(output.shape, generator=torch.manual_seed(1), dtype=torch.float64)
    wanted, got = (torch.autograd.grad((y * weight).sum(), x)[0] for y in (expected, output))
    torch.testing.assert_close(got, wanted)


def test_roi_pool_is_torchvisions_for_whole_pixels():
    from mmcv.ops import roi_pool

    x, rois = features(), torch.tensor([[0.0, 1, 1, 4, 5], [1, 0, 2, 5, 6]], dtype=torch.float64)
    expected = reference.roi_pool(x, rois, (2, 3), 1.0)
    output = roi_pool(x, rois, (2, 3), 1.0)
    torch.testing.assert_close(output, expected)
    wanted, got = (torch.autograd.grad(y.square().sum(), x)[0] for y in (expected, output))
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_roi_pool_other_precisions(dtype, monkeypatch):
    from mmcv.ops import roi_pool

    import kd_det.mmcv_ops.roi_pool as module

    monkeypatch.setattr(module, "_CHUNK", 1)
    x = features().detach().to(dtype).requires_grad_()
    output = roi_pool(x, ROIS.to(dtype), (2, 2), 0.5)
    assert output.dtype == dtype
    expected = roi_pool_loop(x.double(), ROIS.to(dtype), (2, 2), 0.5)
    torch.testing.assert_close(output.double(), expected, atol=0, rtol=0)
    output.sum().backward()
    assert x.grad.sum().item() == pytest.approx((output != 0).sum().item())


@pytest.mark.parametrize("mode", ["avg", "max", "pool"])
def test_no_rois(mode):
    from mmcv.ops import RoIAlign, RoIPool

    x = features()
    layer = RoIPool((2, 3)) if mode == "pool" else RoIAlign((2, 3), 1.0, 0, mode)
    output = layer(x, ROIS[:0])
    assert output.shape == (0, 3, 2, 3)
    output.sum().backward()
    assert x.grad.abs().sum() == 0
