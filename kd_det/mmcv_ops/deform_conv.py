"""Deformable convolution, plain (v1) and modulated (v2), by torchvision's kernel."""

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
    operands = _operands(input, weight, offset, mask, bias)
    use_mask = mask is not None
    output: Tensor = torch.ops.torchvision.deform_conv2d(*operands, *geometry, use_mask)
    return output


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
    operands = _operands(input, weight, offset, mask, bias)
    grad = grad_output.to(operands[0].dtype)
    grads: tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
    grads = torch.ops.torchvision._deform_conv2d_backward(
        grad, *operands, *geometry, mask is not None
    )
    return grads


def _operands(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, ...]:
    """Return all tensors in one dtype: the kernel requires that, and it has no bfloat16."""
    mask = input.new_zeros((len(input), 1)) if mask is None else mask
    bias = input.new_zeros(len(weight)) if bias is None else bias
    dtype = torch.float32 if input.dtype == torch.bfloat16 else input.dtype
    return tuple(x.to(dtype).contiguous() for x in (input, weight, offset, mask, bias))
