"""RoIPool with mmcv's bins: torchvision rounds the scaled corners to pixels, mmcv does not."""

import torch
from torch import Tensor

SERVED = ("roi_pool_forward", "roi_pool_backward")
_CHUNK = 2**24  # gathered values held at once


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write each bin's maximum (B, C, h, w) and the pixel it came from, -1 for an empty bin."""
    output.zero_()
    argmax.fill_(-1)
    if len(rois) == 0:
        return
    boxes = rois if rois.dtype == torch.float64 else rois.float()
    height, width = input.shape[2:]
    top, bottom = _bins(boxes[:, 2], boxes[:, 4], pooled_height, height, spatial_scale)
    left, right = _bins(boxes[:, 1], boxes[:, 3], pooled_width, width, spatial_scale)
    tallest, widest = (
        max(1, int((end - start).max())) for start, end in ((top, bottom), (left, right))
    )
    rows = max(1, _CHUNK // (input.shape[1] * pooled_height * tallest * pooled_width * widest))
    for part in torch.split(torch.arange(len(rois), device=rois.device), rows):
        y, valid_y = _pixels(top[part], bottom[part], height)  # (B, h, tallest)
        x, valid_x = _pixels(left[part], right[part], width)  # (B, w, widest)
        valid = (valid_y[:, :, None, :, None] & valid_x[:, None, :, None, :]).flatten(
            3
        )  # (B, h, w, pixels)
        index = (y[:, :, None, :, None] * width + x[:, None, :, None, :]).flatten(3)
        batch = rois[part, 0].long()[:, None, None, None]
        values = input.flatten(2)[batch, :, index]  # (B, h, w, pixels, C)
        best, at = values.masked_fill(~valid[..., None], -torch.inf).max(dim=3)
        filled = valid.any(3)[..., None]
        output[part] = torch.where(filled, best, 0).permute(0, 3, 1, 2).to(output.dtype)
        argmax[part] = (
            torch.where(filled, index.gather(3, at), -1).permute(0, 3, 1, 2).to(argmax.dtype)
        )


def _bins(
    start: Tensor, end: Tensor, count: int, limit: int, scale: float
) -> tuple[Tensor, Tensor]:
    """First pixel of each bin and the one after its last, (B, count); equal if the RoI is empty."""
    first = start * scale
    extent = (end + 1) * scale - first
    edges = (
        torch.arange(count + 1, device=start.device, dtype=start.dtype) * (extent / count)[:, None]
    )
    edges = edges + first[:, None]
    low = edges[:, :-1].floor().clamp(0, limit).long()
    high = edges[:, 1:].ceil().clamp(0, limit).long()
    return low, torch.where(extent[:, None] > 0, high, low)


def _pixels(low: Tensor, high: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    widest = max(1, int((high - low).max()))
    pixels = low[..., None] + torch.arange(widest, device=low.device)
    return pixels.clamp(max=limit - 1), pixels < high[..., None]


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add each bin's gradient to the pixel it came from."""
    number, channels, height, width = grad_input.shape
    plane = rois[:, 0].long()[:, None] * channels + torch.arange(channels, device=rois.device)
    index = plane[:, :, None, None] * (height * width) + argmax.long()
    filled = argmax >= 0
    total = grad_input.new_zeros(number * channels * height * width, dtype=_sum_dtype(grad_input))
    total.index_add_(0, index[filled], grad_output[filled].to(total.dtype))
    grad_input.add_(total.view_as(grad_input))


def _sum_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32
