"""Deformable convolution, plain (v1) and modulated (v2), by torchvision's kernel.

An offset that is NaN makes the output NaN at that place; compiled kernels crash on it.
"""

import torch
from torch import Tensor

SERVED = (
    "deform_conv_forward",
    "deform_conv_backward_input",
    "deform_conv_backward_parameters",
    "modulated_deform_conv_forward",
    "modulated_deform_conv_backward",
)


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the convolution into `output` (N, C_out, H, W)."""
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    output.copy_(_convolve(input, weight, offset, None, None, geometry))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Add the gradients of the input and of the offsets."""
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    grads = _gradients(grad_output, input, weight, offset, None, None, geometry)
    grad_input.add_(grads[0])
    grad_offset.add_(grads[2])
    # The kernel computes all gradients together; mmcv asks for the weight's next, with the same
    # scratch tensor.
    columns.resize_(weight.shape).copy_(grads[1])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Add the weight's gradient times `scale`."""
    if columns.shape == grad_weight.shape:
        grad_weight.add_(columns, alpha=scale)
        columns.resize_(0)
        return
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    weight = torch.zeros_like(grad_weight)  # its value does not enter its own gradient
    grads = _gradients(grad_output, input, weight, offset, None, None, geometry)
    grad_weight.add_(grads[1], alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Write the convolution into `output` (N, C_out, H, W)."""
    geometry = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    output.copy_(_convolve(input, weight, offset, mask, bias if with_bias else None, geometry))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Add the gradients of the input, weight, offsets, masks and, where there is one, bias."""
    geometry = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    grads = _gradients(
        grad_output, input, weight, offset, mask, bias if with_bias else None, geometry
    )
    for target, grad in zip(
        (grad_input, grad_weight, grad_offset, grad_mask), grads[:4], strict=True
    ):
        target.add_(grad)
    if with_bias:
        grad_bias.add_(grads[4])


def _convolve(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: tuple[int, ...],
) -> Tensor:
    operands = _operands(input, weight, offset, mask, bias, geometry)
    use_mask = mask is not None
    output: Tensor = torch.ops.torchvision.deform_conv2d(*operands, *geometry, use_mask)
    nowhere = _of_map(offset, _map_size(input, weight, geometry)).isnan().any(1, keepdim=True)
    return output.masked_fill(nowhere, torch.nan)  # (N, 1, H, W)


def _gradients(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: tuple[int, ...],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of input, weight, offset, mask and bias."""
    operands = _operands(input, weight, offset, mask, bias, geometry)
    grad = grad_output.to(operands[0].dtype)
    grads: list[Tensor] = list(
        torch.ops.torchvision._deform_conv2d_backward(grad, *operands, *geometry, mask is not None)
    )
    grads[2] = _in_buffer(grads[2], offset)
    if mask is not None:
        grads[3] = _in_buffer(grads[3], mask)
    return grads[0], grads[1], grads[2], grads[3], grads[4]


def _operands(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: tuple[int, ...],
) -> tuple[Tensor, ...]:
    """Return all tensors in one dtype: the kernel requires that, and it has no bfloat16.

    The kernel makes a pixel's address of an offset, and ends the process where it is NaN, so
    those become 0; the caller writes NaN where they were.
    """
    size = _map_size(input, weight, geometry)
    mask = input.new_zeros((len(input), 1)) if mask is None else _of_map(mask, size)
    bias = input.new_zeros(len(weight)) if bias is None else bias
    dtype = torch.float32 if input.dtype == torch.bfloat16 else input.dtype
    offset = _of_map(offset, size)
    offset = offset.masked_fill(offset.isnan(), 0.0)
    return tuple(x.to(dtype).contiguous() for x in (input, weight, offset, mask, bias))


def _map_size(input: Tensor, weight: Tensor, geometry: tuple[int, ...]) -> tuple[int, int]:
    """Return height and width of the output."""
    strides, pads, dilations = geometry[0:2], geometry[2:4], geometry[4:6]
    height, width = (
        (side + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
        for side, kernel, stride, pad, dilation in zip(
            input.shape[2:], weight.shape[2:], strides, pads, dilations, strict=True
        )
    )
    return height, width


def _of_map(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Return offsets or masks (N, C, H, W) of an output of that size.

    mmcv's kernels read them as a buffer of numbers, and mmdet's DyHead gives those of a larger map:
    what comes first in the buffer is used.

    Raises:
        ValueError: If there are too few.
    """
    if values.shape[2:] == size:
        return values
    number, channels = values.shape[:2]
    wanted = channels * size[0] * size[1]
    buffer = values.flatten(1)  # (N, C*H*W)
    if buffer.shape[1] < wanted:
        raise ValueError(
            f"a deformable convolution needs offsets and masks for its output of {size[0]} x "
            f"{size[1]}, but they are {tuple(values.shape)}. Compute them from its input, with its "
            "stride, padding and dilation."
        )
    return buffer[:, :wanted].reshape(number, channels, *size)


def _in_buffer(grad: Tensor, values: Tensor) -> Tensor:
    """Return a gradient of :func:`_of_map` as one of its argument; what was not used gets 0."""
    if grad.shape == values.shape:
        return grad
    buffer = grad.new_zeros(len(values), values[0].numel())
    buffer[:, : grad[0].numel()] = grad.flatten(1)
    return buffer.view(values.shape)
