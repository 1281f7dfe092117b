"""Deformable RoI pooling, in plain torch: each bin is moved before it is averaged.

The gradient of the offsets is that of the forward pass: where a sample lies beyond the border of
the map, whose values continue there, it is 0. mmcv's kernel takes the slope inside the border.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from kd_det.mmcv_ops.roi_align import neighbors, roi_bins

SERVED = ("deform_roi_pool_forward", "deform_roi_pool_backward")
_CHUNK = 2**22  # sampled values held at once
_Size = tuple[int, int]


def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Write the pooled features (B, C, h, w); offsets (B, 2, h, w) are x and y over RoI sizes."""
    output.zero_()
    size = (pooled_height, pooled_width)
    x, boxes, moves = _precise(input), _precise(rois), _precise(offset)
    for part, grid in _parts(x, boxes, size, spatial_scale, sampling_ratio):
        moved = moves[part] * gamma if len(moves) else None
        pooled = _pool(x, boxes[part], moved, size, spatial_scale, grid)
        output[part] = pooled.to(output.dtype)


def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Add the gradients of the input and of the offsets."""
    size = (pooled_height, pooled_width)
    boxes = _precise(rois)
    leaf = _precise(input).detach().requires_grad_()
    for part, grid in _parts(leaf, boxes, size, spatial_scale, sampling_ratio):
        wanted = [leaf]
        moves = None
        if len(offset):
            moves = _precise(offset)[part].detach().requires_grad_()
            wanted.append(moves)
        with torch.enable_grad():
            moved = None if moves is None else moves * gamma
            pooled = _pool(leaf, boxes[part], moved, size, spatial_scale, grid)
            grads = torch.autograd.grad(pooled, wanted, grad_output[part].to(pooled.dtype))
        grad_input.add_(grads[0])
        if moves is not None:
            grad_offset[part] += grads[1].to(grad_offset.dtype)


def _parts(
    x: Tensor, rois: Tensor, size: _Size, scale: float, sampling_ratio: int
) -> Iterator[tuple[Tensor, list[int]]]:
    """Yield the indices of some RoIs with as many samples per bin, and that number (y, x)."""
    grids = roi_bins(rois, size, scale, sampling_ratio, aligned=True)[2]
    for grid in torch.unique(grids, dim=0).tolist():
        if min(grid) < 1:
            continue  # an empty RoI pools nothing
        members = (grids == torch.tensor(grid, device=grids.device)).all(1).nonzero()[:, 0]
        rows = max(1, _CHUNK // (x.shape[1] * size[0] * size[1] * grid[0] * grid[1]))
        yield from ((part, grid) for part in torch.split(members, rows))


def _pool(
    x: Tensor, rois: Tensor, moved: Tensor | None, size: _Size, scale: float, grid: list[int]
) -> Tensor:
    """Average the samples of each bin (B, C, h, w), which is moved by a part of the RoI's size."""
    start, bins, _ = roi_bins(rois, size, scale, grid[0], aligned=True)  # (B, 2), y and x
    places = []
    for axis in (0, 1):
        cells = torch.arange(size[axis], device=x.device, dtype=x.dtype)[:, None]
        inner = (torch.arange(grid[axis], device=x.device, dtype=x.dtype) + 0.5) / grid[axis]
        places.append(
            start[:, axis, None, None] + (cells + inner) * bins[:, axis, None, None]
        )  # (B, h, gh), (B, w, gw)
    y = places[0][:, :, None, :, None].expand(-1, -1, size[1], -1, grid[1]).flatten(3)
    x_at = places[1][:, None, :, None, :].expand(-1, size[0], -1, grid[0], -1).flatten(3)
    if moved is not None:
        y = y + (moved[:, 1] * bins[:, 0, None, None] * size[0])[..., None]  # (B, h, w, gh*gw)
        x_at = x_at + (moved[:, 0] * bins[:, 1, None, None] * size[1])[..., None]
    batch = rois[:, 0].long()[:, None, None, None]
    values = x.new_zeros(())
    for rows, columns, weight in neighbors(y, x_at, x.shape[2], x.shape[3]):
        values = values + x[batch, :, rows, columns] * weight[..., None]  # (B, h, w, gh*gw, C)
    return values.mean(3).permute(0, 3, 1, 2)


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
