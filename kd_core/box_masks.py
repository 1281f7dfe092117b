"""Masks of boxes on feature maps, without a loop over boxes or images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Boxes = Sequence[Tensor]  # (B_i, 4) of each image: x1, y1, x2, y2 in pixels of the padded input

_CELLS = 2**24  # of (N, B, H, W) at once: 64 MB in float32


def covered_cells(boxes: Boxes, image_size: tuple[int, int], feature: Tensor) -> Tensor:
    """Return which cells of a map are covered by a box, in part or as a whole.

    Args:
        boxes: Boxes (B_i, 4) of each image, xyxy in pixels of the padded input.
        image_size: Height and width in pixels of the padded input, of which the map is one.
        feature: Feature map (N, C, H, W).

    Returns:
        1.0 in covered cells and 0.0 elsewhere, float32 (N, H, W). Memory O(N * B * (H + W)).

    Raises:
        ValueError: If there are not boxes (B_i, 4) for each image.

    Example:
        >>> import torch
        >>> covered_cells([torch.tensor([[0., 9., 15., 16.]])], (16, 32), torch.zeros(1, 8, 2, 4))
        tensor([[[0., 0., 0., 0.],
                 [1., 1., 0., 0.]]])
    """
    scaled, there = _scaled(boxes, image_size, feature)
    there &= (scaled[..., 2:] > scaled[..., :2]).all(dim=2)
    first, last = scaled[..., :2].floor(), scaled[..., 2:].ceil() - 1
    columns, rows = _spans(first, last, feature)
    rows = (rows & there[..., None]).float()  # (N, B, H)
    counts = rows.transpose(1, 2) @ columns.float()  # (N, H, W)
    return (counts > 0).float()


def foreground_weights(boxes: Boxes, image_size: tuple[int, int], feature: Tensor) -> Tensor:
    """Return FGD's weights of cells in boxes: 1 / the number of a box's cells.

    A box's cells go from floor(x1 W / w) to ceil(x2 W / w), both inclusive, and alike from top to
    bottom, as in FGD's code: a column and a row more than it covers. The number counts those
    outside the map too; where boxes meet, the smaller one counts.

    Args:
        boxes: Boxes (B_i, 4) of each image, xyxy in pixels of the padded input.
        image_size: Height and width in pixels of the padded input.
        feature: Feature map (N, C, H, W).

    Returns:
        Weights (N, H, W) in float32, 0 outside all boxes. Memory at most 64 MB, or one box of each
        image at a time.

    Raises:
        ValueError: If there are not boxes (B_i, 4) for each image.
    """
    scaled, there = _scaled(boxes, image_size, feature)
    first, last = scaled[..., :2].floor(), scaled[..., 2:].ceil()
    value = there / (last - first + 1).clamp(min=1).prod(dim=2)  # (N, B)
    columns, rows = _spans(first, last, feature)
    found = feature.new_zeros(len(feature), *feature.shape[2:], dtype=torch.float32)
    step = max(1, _CELLS // found.numel())
    for start in range(0, value.shape[1], step):  # once, unless boxes are very many
        part = slice(start, start + step)
        tall = value[:, part, None] * rows[:, part]  # (N, B, H)
        cells = tall[..., None] * columns[:, part, None, :]  # (N, B, H, W)
        found = torch.maximum(found, cells.amax(dim=1))
    return found


def padded_boxes(boxes: Boxes, device: torch.device) -> tuple[Tensor, Tensor]:
    """Put the boxes of all images into one array.

    Args:
        boxes: Boxes (B_i, 4) of each image.
        device: Where they go.

    Returns:
        Boxes (N, B, 4) in float32, filled up with zeros, and which of them there are (N, B).

    Raises:
        ValueError: If they are not (B_i, 4).
    """
    _check_count(boxes, len(boxes))
    listed = [one.detach().to(device, torch.float32).reshape(-1, 4) for one in boxes]
    counts = torch.tensor([len(one) for one in listed], device=device)
    padded = torch.nn.utils.rnn.pad_sequence(listed, batch_first=True)  # (N, B, 4)
    return padded, torch.arange(padded.shape[1], device=device) < counts[:, None]


def _scaled(boxes: Boxes, image_size: tuple[int, int], feature: Tensor) -> tuple[Tensor, Tensor]:
    """Return boxes (N, B, 4) in cells of the map, and which of them there are (N, B)."""
    _check_count(boxes, len(feature))
    padded, there = padded_boxes(boxes, feature.device)
    height, width = feature.shape[2] / image_size[0], feature.shape[3] / image_size[1]
    return padded * padded.new_tensor([width, height, width, height]), there


def _spans(first: Tensor, last: Tensor, feature: Tensor) -> tuple[Tensor, Tensor]:
    """Return which columns (N, B, W) and rows (N, B, H) lie from first to last (N, B, 2)."""
    spans = []
    for axis, size in ((0, feature.shape[3]), (1, feature.shape[2])):
        cells = torch.arange(size, device=feature.device)
        spans.append((cells >= first[..., axis, None]) & (cells <= last[..., axis, None]))
    return spans[0], spans[1]


def _check_count(boxes: Boxes, count: int) -> None:
    shapes = [tuple(getattr(one, "shape", ())) for one in boxes]
    if len(shapes) != count or not all(len(s) == 2 and s[1] == 4 for s in shapes):
        raise ValueError(
            f"boxes must be a list of {count} tensors (B, 4), one for each image, but their shapes "
            f"are {shapes}."
        )
