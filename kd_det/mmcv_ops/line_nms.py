"""Non-maximum suppression of lanes, as CLRNet's head uses it."""

import torch
from torch import Tensor

SERVED = ("line_nms_forward",)
_FIRST = 4  # a lane: two numbers, start (share of the height), x, length; then x at each row
_OFFSETS = 72


def line_nms_forward(
    boxes: Tensor, scores: Tensor, overlap: float, top_k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Keep lanes, best score first; those less than ``overlap`` away from a kept one go.

    The distance of two lanes is the mean of |x - x'| over the rows that both have; lanes that
    share no row stay. mmcv's kernel compares with a lane of another rank where the scores are not
    sorted.

    Returns:
        Indices of the kept lanes, filled up with 0 (B,), their number, and for each lane one more
        than the rank of the kept lane that it belongs to (B,), 0 where there is none.
    """
    order = scores.argsort(descending=True)
    near = _near(boxes[order].float(), overlap)
    removed = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    keep = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
    parent = torch.zeros_like(keep)
    kept = 0
    for rank in range(len(boxes)):
        if kept == top_k:
            break
        if removed[rank]:
            continue
        keep[kept] = order[rank]
        kept += 1
        mine = near[rank].clone()
        mine[: rank + 1] = False
        removed |= mine
        mine[rank] = True
        parent[order[mine]] = kept
    return keep, torch.tensor(kept), parent


def _near(lanes: Tensor, overlap: float) -> Tensor:
    """Return which pairs of lanes (B, B) are closer than the overlap, on average."""
    rows = torch.arange(_OFFSETS, device=lanes.device)
    start = (lanes[:, 2] * (_OFFSETS - 1) + 0.5).long()
    length = lanes[:, _FIRST]
    end = start + length.long() - 1 + torch.where(length < 1, -0.5, 0.5).long()
    end = end.clamp(max=_OFFSETS - 1)
    own = (rows >= start[:, None]) & (rows <= end[:, None])  # (B, rows)
    both = own[:, None] & own[None]  # (B, B, rows)
    x = lanes[:, _FIRST + 1 :]
    distance = ((x[:, None] - x[None]).abs() * both).sum(-1)
    count = both.sum(-1)
    return (count > 0) & (distance < overlap * count)
