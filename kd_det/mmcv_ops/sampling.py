"""Multi-scale deformable attention and CARAFE, in plain torch."""

import torch
from torch import Tensor
from torch.nn import functional

SERVED = (
    "ms_deform_attn_forward",
    "ms_deform_attn_backward",
    "carafe_forward",
    "carafe_backward",
    "carafe_naive_forward",
    "carafe_naive_backward",
)


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_loc: Tensor,
    attn_weight: Tensor,
    im2col_step: int,
) -> Tensor:
    """Weighted sum of the values sampled at the points: (N, queries, heads * D)."""
    shapes = [(int(h), int(w)) for h, w in spatial_shapes.tolist()]
    number, _, heads, size = value.shape
    queries = sampling_loc.shape[1]
    maps = value.permute(0, 2, 3, 1).flatten(0, 1)  # (N*heads, D, keys)
    grid = (2 * sampling_loc - 1).transpose(1, 2).flatten(0, 1)  # (N*heads, queries, L, points, 2)
    weight = attn_weight.transpose(1, 2).flatten(0, 1)  # (N*heads, queries, L, points)
    output = value.new_zeros((number * heads, size, queries))
    levels = torch.split(maps, [h * w for h, w in shapes], dim=2)
    for level, (shape, level_map) in enumerate(zip(shapes, levels, strict=True)):
        sampled = functional.grid_sample(
            level_map.reshape(number * heads, size, *shape), grid[:, :, level], align_corners=False
        )  # (N*heads, D, queries, points)
        output = output + (sampled * weight[:, None, :, level]).sum(-1)
    return output.view(number, heads * size, queries).transpose(1, 2).contiguous()


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_loc: Tensor,
    attn_weight: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Add the gradients of values, locations and weights."""
    with torch.enable_grad():
        leaf, points, weights = (_leaf(x) for x in (value, sampling_loc, attn_weight))
        output = ms_deform_attn_forward(
            leaf, spatial_shapes, level_start_index, points, weights, im2col_step
        )
        grads = torch.autograd.grad(output, (leaf, points, weights), grad_output)
    for target, grad in zip((grad_value, grad_sampling_loc, grad_attn_weight), grads, strict=True):
        target.add_(grad)


def carafe_naive_forward(
    features: Tensor,
    masks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Write the upsampled features: each pixel a weighted sum of a k x k neighborhood."""
    output.copy_(_reassemble(features, masks, kernel_size, group_size, scale_factor))


def carafe_naive_backward(
    top_grad: Tensor,
    features: Tensor,
    masks: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Add the gradients of features and masks."""
    with torch.enable_grad():
        leaf, kernels = _leaf(features), _leaf(masks)
        output = _reassemble(leaf, kernels, kernel_size, group_size, scale_factor)
        grads = torch.autograd.grad(output, (leaf, kernels), top_grad)
    bottom_grad.add_(grads[0])
    mask_grad.add_(grads[1])


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """As `carafe_naive_forward`; keeps the features in `rfeatures` for the backward pass."""
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(
    top_grad: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rtop_grad: Tensor,
    rbottom_grad_hs: Tensor,
    rbottom_grad: Tensor,
    rmask_grad: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Add the gradients of features and masks."""
    carafe_naive_backward(
        top_grad, rfeatures, masks, bottom_grad, mask_grad, kernel_size, group_size, scale_factor
    )


def _reassemble(
    features: Tensor, masks: Tensor, kernel_size: int, group_size: int, scale_factor: int
) -> Tensor:
    number, channels, height, width = features.shape
    patches = functional.unfold(features, kernel_size, padding=kernel_size // 2)
    patches = patches.view(
        number, group_size, channels // group_size, kernel_size**2, height, width
    )
    kernels = masks.view(
        number, group_size, kernel_size**2, height, scale_factor, width, scale_factor
    )
    with torch.autocast(features.device.type, enabled=False):  # as compiled code, which ignores it
        output = torch.einsum("ngckhw,ngkhiwj->ngchiwj", patches, kernels)
    return output.reshape(number, channels, height * scale_factor, width * scale_factor)


def _leaf(x: Tensor) -> Tensor:
    return x.detach().requires_grad_()
