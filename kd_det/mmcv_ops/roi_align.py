"""RoIAlign: average pooling by torchvision's kernel, maximum pooling in plain torch."""

import torch
from torch import Tensor

SERVED = ("roi_align_forward", "roi_align_backward")
_AVERAGE = 1  # mmcv's code for the pooling mode; 0 is maximum
_NOWHERE = -2.0  # a coordinate outside every map: no gradient flows there
_CHUNK = 2**24  # sampled values held at once by maximum pooling


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the pooled features (B, C, h, w), and for maxima also where each was sampled."""
    size = (aligned_height, aligned_width)
    if pool_mode == _AVERAGE:
        x = _served(input)
        pooled = torch.ops.torchvision.roi_align(
            x, rois.to(x.dtype), spatial_scale, *size, sampling_ratio, aligned
        )
        output.copy_(pooled)
        return
    output.zero_()
    argmax_y.fill_(_NOWHERE)
    argmax_x.fill_(_NOWHERE)
    x = input if input.dtype == torch.float64 else input.float()
    start, bins, grids = roi_bins(rois.to(x.dtype), size, spatial_scale, sampling_ratio, aligned)
    for grid in torch.unique(grids, dim=0).tolist():
        if min(grid) < 1:
            continue  # an empty RoI pools nothing
        members = (grids == torch.tensor(grid, device=grids.device)).all(1).nonzero()[:, 0]
        rows = max(1, _CHUNK // (x.shape[1] * size[0] * size[1] * grid[0] * grid[1]))
        for part in torch.split(members, rows):
            best, y, x_at = _max_pool(x, rois[part, 0].long(), start[part], bins[part], size, grid)
            output[part] = best.to(output.dtype)
            argmax_y[part] = y.to(argmax_y.dtype)
            argmax_x[part] = x_at.to(argmax_x.dtype)


def roi_bins(
    rois: Tensor, size: tuple[int, int], scale: float, sampling_ratio: int, aligned: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """First corner, bin size and samples per bin of each RoI, all (B, 2) in the order y, x."""
    corners = rois[:, 1:] * scale - (0.5 if aligned else 0.0)
    start, end = corners[:, [1, 0]], corners[:, [3, 2]]
    extent = end - start
    if not aligned:
        extent = extent.clamp(min=1.0)
    bins = extent / extent.new_tensor(size)
    grids = torch.full_like(bins, sampling_ratio) if sampling_ratio > 0 else bins.ceil()
    return start, bins, grids.long()


def _max_pool(
    x: Tensor, batch: Tensor, start: Tensor, bins: Tensor, size: tuple[int, int], grid: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    ys, xs = (
        _sample_points(start[:, i], bins[:, i], size[i], grid[i]) for i in (0, 1)
    )  # (B, h, gh), (B, w, gw)
    y = ys[:, :, None, :, None].expand(-1, -1, size[1], -1, grid[1]).flatten(3)  # (B, h, w, gh*gw)
    x_at = xs[:, None, :, None, :].expand(-1, size[0], -1, grid[0], -1).flatten(3)
    values = x.new_zeros(())
    for rows, columns, weight in neighbors(y, x_at, x.shape[2], x.shape[3]):
        sampled = x[batch[:, None, None, None], :, rows, columns]  # (B, h, w, gh*gw, C)
        values = values + sampled * weight[..., None]
    best, index = values.max(dim=3)  # (B, h, w, C)
    at_y, at_x = (c.gather(3, index).permute(0, 3, 1, 2) for c in (y, x_at))
    return best.permute(0, 3, 1, 2), at_y, at_x


def _sample_points(start: Tensor, bins: Tensor, size: int, grid: int) -> Tensor:
    position = torch.arange(size, device=bins.device, dtype=bins.dtype)[:, None]
    fraction = (torch.arange(grid, device=bins.device, dtype=bins.dtype) + 0.5) / grid
    return start[:, None, None] + (position + fraction) * bins[:, None, None]


def neighbors(y: Tensor, x: Tensor, height: int, width: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Rows, columns and weights of the four pixels around each point; weight 0 outside the map."""
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.long(), x.long()
    bottom, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    low_y, low_x = y - top, x - left
    corners = (
        (top, left, (1 - low_y) * (1 - low_x)),
        (top, right, (1 - low_y) * low_x),
        (bottom, left, low_y * (1 - low_x)),
        (bottom, right, low_y * low_x),
    )
    return [(rows, columns, weight * inside) for rows, columns, weight in corners]


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Add the gradient of the input (N, C, H, W) into `grad_input`."""
    if pool_mode == _AVERAGE:
        grad = _served(grad_output)
        size = (aligned_height, aligned_width, *grad_input.shape)
        scattered = torch.ops.torchvision._roi_align_backward(
            grad, rois.to(grad.dtype), spatial_scale, *size, sampling_ratio, aligned
        )
        grad_input.add_(scattered)
        return
    number, channels, height, width = grad_input.shape
    grad = grad_output if grad_output.dtype == torch.float64 else grad_output.float()
    plane = rois[:, 0].long()[:, None] * channels + torch.arange(channels, device=rois.device)
    total = grad.new_zeros(number * channels * height * width)
    points = neighbors(argmax_y.to(grad.dtype), argmax_x.to(grad.dtype), height, width)
    for rows, columns, weight in points:
        index = (plane[:, :, None, None] * height + rows) * width + columns
        total.index_add_(0, index.flatten(), (grad * weight).flatten())
    grad_input.add_(total.view_as(grad_input))


def _served(x: Tensor) -> Tensor:
    """Return a tensor in float32 instead of bfloat16, which the kernel does not have."""
    return x.float() if x.dtype == torch.bfloat16 else x
