import pytest
import torch

from kd_det.mmcv_ops import provide_ops

pytestmark = pytest.mark.skipif(provide_ops() == "compiled", reason="mmcv has compiled operators")


def random(*shape, seed=0, scale=1.0):
    return torch.randn(*shape, generator=torch.manual_seed(seed), dtype=torch.float64) * scale


def bilinear(image, y, x):
    """(C,), the value of `image` (C, H, W) at a point; pixels outside are zero."""
    height, width = image.shape[1:]
    total = image.new_zeros(len(image))
    top, left = int(torch.floor(y.detach())), int(torch.floor(x.detach()))
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < height and 0 <= column < width:
                weight = (1 - (y - row).abs()) * (1 - (x - column).abs())
                total = total + image[:, row, column] * weight
    return total


def deform_conv_loop(x, offset, weight, mask, stride, padding, dilation, groups, deform_groups):
    number, channels = x.shape[:2]
    height, width = offset.shape[2:]
    kernel_h, kernel_w = weight.shape[2:]
    offset = offset.view(number, deform_groups, kernel_h, kernel_w, 2, height, width)
    columns = []
    for n, i, j, d, a, b in torch.cartesian_prod(
        *map(torch.arange, (number, height, width, deform_groups, kernel_h, kernel_w))
    ).tolist():
        image = x[n].view(deform_groups, -1, *x.shape[2:])[d]
        y = i * stride - padding + a * dilation + offset[n, d, a, b, 0, i, j]
        x_at = j * stride - padding + b * dilation + offset[n, d, a, b, 1, i, j]
        value = bilinear(image, y, x_at)
        if mask is not None:
            value = (
                value
                * mask.view(number, deform_groups, kernel_h, kernel_w, height, width)[
                    n, d, a, b, i, j
                ]
            )
        columns.append(value)
    columns = torch.stack(columns).view(
        number, height, width, deform_groups, kernel_h, kernel_w, -1
    )
    columns = columns.permute(0, 1, 2, 3, 6, 4, 5).reshape(
        number, height, width, groups, channels // groups, kernel_h, kernel_w
    )
    kernels = weight.view(groups, -1, *weight.shape[1:])
    output = torch.einsum("nhwgcab,gocab->ngohw", columns, kernels)
    return output.reshape(number, -1, height, width)


CASES = [(1, 1, 1, 1, 1), (2, 1, 1, 2, 1), (1, 2, 2, 1, 2)]
NAMES = "stride,padding,dilation,groups,deform_groups"


def conv_inputs(stride, padding, dilation, groups, deform_groups):
    x = random(2, 4, 6, 5, seed=1)
    size = [(s + 2 * padding - 2 * dilation - 1) // stride + 1 for s in (6, 5)]
    offset = random(2, 18 * deform_groups, *size, seed=2, scale=1.5)
    weight = random(6, 4 // groups, 3, 3, seed=3)
    mask = random(2, 9 * deform_groups, *size, seed=4).sigmoid()
    return [t.requires_grad_() for t in (x, offset, weight, mask)]


def assert_same_gradients(output, expected, inputs):
    torch.testing.assert_close(output, expected)
    upstream = random(*output.shape, seed=9)
    wanted = torch.autograd.grad(expected, inputs, upstream)
    for got, want in zip(torch.autograd.grad(output, inputs, upstream), wanted, strict=True):
        assert want.abs().sum() > 0
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize(NAMES, CASES)
def test_deform_conv_and_gradients(stride, padding, dilation, groups, deform_groups):
    from mmcv.ops import DeformConv2d

    geometry = (stride, padding, dilation, groups, deform_groups)
    x, offset, weight, _ = conv_inputs(*geometry)
    layer = DeformConv2d(4, 6, 3, *geometry).double()
    layer.weight.data.copy_(weight.detach())
    expected = deform_conv_loop(x, offset, layer.weight, None, *geometry)
    assert_same_gradients(layer(x, offset), expected, (x, offset, layer.weight))


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 2)])
def test_deform_conv_gradients_of_some_inputs(needed):
    from mmcv.ops import deform_conv2d

    inputs = [t.detach() for t in conv_inputs(1, 1, 1, 1, 1)[:3]]
    for index in needed:
        inputs[index].requires_grad_()
    expected = deform_conv_loop(*inputs, None, 1, 1, 1, 1, 1)
    output = deform_conv2d(*inputs, 1, 1)
    assert_same_gradients(output, expected, [inputs[index] for index in needed])


def test_deform_conv_backward_twice_follows_the_second_gradient():
    from mmcv.ops import deform_conv2d

    inputs = conv_inputs(1, 1, 1, 1, 1)[:3]
    output = deform_conv2d(*inputs, 1, 1)
    once = torch.autograd.grad(output.sum(), inputs, retain_graph=True)
    twice = torch.autograd.grad(2 * output.sum(), inputs)
    for first, second in zip(once, twice, strict=True):
        torch.testing.assert_close(second, 2 * first)


def test_deform_conv_computes_its_gradients_once(monkeypatch):
    from mmcv.ops import deform_conv2d

    import kd_det.mmcv_ops.deform_conv as module

    gradients, calls = module._gradients, []

    def counted(*args):
        calls.append(args)
        return gradients(*args)

    monkeypatch.setattr(module, "_gradients", counted)
    deform_conv2d(*conv_inputs(1, 1, 1, 1, 1)[:3], 1, 1).sum().backward()
    assert len(calls) == 1


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(NAMES, CASES)
def test_modulated_deform_conv_and_gradients(
    stride, padding, dilation, groups, deform_groups, bias
):
    from mmcv.ops import ModulatedDeformConv2d

    geometry = (stride, padding, dilation, groups, deform_groups)
    x, offset, weight, mask = conv_inputs(*geometry)
    layer = ModulatedDeformConv2d(4, 6, 3, *geometry, bias=bias).double()
    layer.weight.data.copy_(weight.detach())
    expected = deform_conv_loop(x, offset, layer.weight, mask, *geometry)
    inputs = [x, offset, mask, layer.weight]
    if bias:
        layer.bias.data.copy_(random(6, seed=5))
        expected = expected + layer.bias[:, None, None]
        inputs.append(layer.bias)
    assert_same_gradients(layer(x, offset, mask), expected, inputs)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float16, 3e-2), (torch.bfloat16, 1e-1)]
)
def test_deform_conv_other_precisions(dtype, tolerance):
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d

    x, offset, weight, mask = (t.detach().to(dtype) for t in conv_inputs(1, 1, 1, 1, 1))
    x.requires_grad_()
    exact = [t.detach().double() for t in (x, offset, weight, mask)]
    exact[0].requires_grad_()
    for output, last in (
        (deform_conv2d(x, offset, weight, 1, 1), None),
        (modulated_deform_conv2d(x, offset, mask, weight, None, 1, 1), exact[3]),
    ):
        assert output.dtype == dtype
        expected = deform_conv_loop(*exact[:3], last, 1, 1, 1, 1, 1)
        torch.testing.assert_close(output.double(), expected, atol=tolerance, rtol=tolerance)
        got, want = (
            torch.autograd.grad(y.mean(), i) for y, i in ((output, x), (expected, exact[0]))
        )
        torch.testing.assert_close(got[0].double(), want[0], atol=tolerance, rtol=tolerance)


def attention_loop(value, shapes, locations, weights):
    number, _, heads, _ = value.shape
    rows = []
    for n in range(number):
        for q in range(locations.shape[1]):
            for head in range(heads):
                total, start = 0.0, 0
                for level, (height, width) in enumerate(shapes):
                    part = value[n, start : start + height * width, head]
                    image = part.T.reshape(-1, height, width)
                    start += height * width
                    for p in range(locations.shape[4]):
                        x, y = locations[n, q, head, level, p]
                        sampled = bilinear(image, y * height - 0.5, x * width - 0.5)
                        total = total + sampled * weights[n, q, head, level, p]
                rows.append(total)
    return torch.stack(rows).view(number, locations.shape[1], -1)


def test_multi_scale_deformable_attention_and_gradients():
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    shapes = [(4, 3), (2, 2)]
    value = random(2, 16, 2, 3, seed=1).requires_grad_()
    locations = (random(2, 5, 2, 2, 3, 2, seed=2) * 0.4 + 0.5).requires_grad_()
    weights = random(2, 5, 2, 2, 3, seed=3).flatten(3).softmax(-1).view(2, 5, 2, 2, 3)
    weights.requires_grad_()
    output = MultiScaleDeformableAttnFunction.apply(
        value, torch.tensor(shapes), torch.tensor([0, 12]), locations, weights, 64
    )
    expected = attention_loop(value, shapes, locations, weights)
    assert_same_gradients(output, expected, (value, locations, weights))


def carafe_loop(features, masks, kernel, groups, factor):
    number, channels, height, width = features.shape
    reach, rows = kernel // 2, []
    masks = masks.view(number, groups, kernel, kernel, height * factor, width * factor)
    for n in range(number):
        for i in range(height * factor):
            for j in range(width * factor):
                total = features.new_zeros(groups, channels // groups)
                for a in range(kernel):
                    for b in range(kernel):
                        y, x = i // factor + a - reach, j // factor + b - reach
                        if 0 <= y < height and 0 <= x < width:
                            pixel = features[n, :, y, x].view(groups, -1)
                            total = total + pixel * masks[n, :, a, b, i, j, None]
                rows.append(total.flatten())
    return torch.stack(rows).view(number, height * factor, width * factor, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("kernel", "groups", "factor"), [(3, 2, 2), (5, 1, 3)])
def test_carafe_and_gradients(kernel, groups, factor):
    from mmcv.ops import carafe, carafe_naive

    features = random(2, 4, 4, 3, seed=1).requires_grad_()
    masks = random(2, kernel**2 * groups, 4 * factor, 3 * factor, seed=2).requires_grad_()
    expected = carafe_loop(features, masks, kernel, groups, factor)
    torch.testing.assert_close(carafe_naive(features, masks, kernel, groups, factor), expected)
    output = carafe(features, masks, kernel, groups, factor)
    assert_same_gradients(output, expected, (features, masks))
