"""Valuable localization region of LD: anchors near a box, but not near enough to predict it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kd_core.box_masks import Boxes, padded_boxes
from kd_core.checks import check_choice

_CELLS = 2**22  # anchors x boxes at once: 16 MB for each of a few arrays in float32
_CANDIDATES = 9  # anchors of each level, nearest to a box


def square_anchors(
    sizes: Sequence[tuple[int, int]], strides: Sequence[int], scale: float, device: torch.device
) -> list[Tensor]:
    """Return square anchors of each level, as mmdet's AnchorGenerator puts one on each place.

    Args:
        sizes: Height and width of each level's map.
        strides: Pixels between two places, of each level.
        scale: Side of an anchor in strides.
        device: Where they are made.

    Returns:
        Anchors (H * W, 4) of each level, xyxy in pixels, row by row; the first center is (0, 0).

    Raises:
        ValueError: If there is not a stride for each level.
    """
    if len(sizes) != len(strides):
        raise ValueError(
            f"strides must be one for each level, but there are {len(strides)} for {len(sizes)} "
            "levels. Give those of the head's anchor generator."
        )
    found = []
    for (height, width), stride in zip(sizes, strides, strict=True):
        rows, columns = (torch.arange(n, device=device) * float(stride) for n in (height, width))
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        centers = torch.stack([x, y], dim=-1).reshape(-1, 2)  # (H*W, 2)
        half = scale * stride / 2
        found.append(torch.cat([centers - half, centers + half], dim=1))
    return found


def localization_region(
    anchors: Sequence[Tensor], boxes: Boxes, overlap: str = "union"
) -> list[Tensor]:
    """Return the weight of each anchor in LD's valuable localization region, 0 outside of it.

        th_k   = mean + std of IoU(anchor, box k) over the 9 anchors of each level nearest to box k
        region = anchors with 0.25 th_k <= D(anchor, box k) < th_k for a box k
        weight = the largest IoU with such a box
        D      = O - (distance of centers)^2 / (diagonal of the hull)^2

    O is the IoU with ``overlap="union"``, so that D is the DIoU that the formula means, and the
    common area over the anchor's own with ``overlap="anchor"``: the authors' function for DIoU
    divides by the anchor's area alone. Only so do all 100 recorded anchors agree, of which 8 of
    large anchors around small boxes lie in the region by it and outside by the formula. The
    standard deviation is the unbiased one.

    Args:
        anchors: Anchors (A_l, 4) of each level, xyxy in pixels of the padded input.
        boxes: Boxes (B_i, 4) of each image, likewise.
        overlap: "union" or "anchor".

    Returns:
        Weights (N, A_l) of each level, in float32. Memory O(N * A * B), at most 16 MB an array, or
        one box of each image at a time.

    Raises:
        ValueError: If there are not boxes (B_i, 4) for each image, or ``overlap`` is unknown.

    Example:
        >>> import torch
        >>> level = square_anchors([(1, 4)], [8], 2.0, torch.device("cpu"))
        >>> localization_region(level, [torch.tensor([[-8.0, -8.0, 8.0, 8.0]])])[0]
        tensor([[0.0000, 0.3333, 0.0000, 0.0000]])
    """
    check_choice("overlap", overlap, {"union", "anchor"})
    padded, there = padded_boxes(boxes, anchors[0].device)
    counts = [len(level) for level in anchors]
    joined = torch.cat([level.float() for level in anchors])
    found = joined.new_zeros(len(padded), len(joined))  # (N, A)
    step = max(1, _CELLS // max(found.numel(), 1))
    for start in range(0, padded.shape[1], step):  # once, unless boxes are very many
        part = slice(start, start + step)
        weights = _weights(joined, padded[:, part], counts, overlap)
        found = torch.maximum(found, (weights * there[:, part, None]).amax(dim=1))
    return list(found.split(counts, dim=1))


def _weights(anchors: Tensor, boxes: Tensor, counts: list[int], overlap: str) -> Tensor:
    """Return the IoU of anchors (A, 4) with boxes (N, B, 4) where in their regions, (N, B, A)."""
    boxes = boxes[:, :, None]  # (N, B, 1, 4)
    sides = torch.minimum(anchors[:, 2:], boxes[..., 2:]) - torch.maximum(
        anchors[:, :2], boxes[..., :2]
    )
    common = sides.clamp(min=0.0).prod(dim=-1)  # (N, B, A)
    own, areas = ((one[..., 2:] - one[..., :2]).prod(dim=-1) for one in (anchors, boxes))
    iou = common / (own + areas - common).clamp(min=1e-6)
    between = (anchors[:, :2] + anchors[:, 2:] - boxes[..., :2] - boxes[..., 2:]) / 2
    distances = between.square().sum(dim=-1)
    hull = torch.maximum(anchors[:, 2:], boxes[..., 2:]) - torch.minimum(
        anchors[:, :2], boxes[..., :2]
    )
    share = iou if overlap == "union" else common / own.clamp(min=1e-6)
    near = share - distances / hull.square().sum(dim=-1).clamp(min=1e-6)
    parts = zip(iou.split(counts, dim=-1), distances.split(counts, dim=-1), strict=True)
    candidates = torch.cat(
        [
            level.gather(-1, far.topk(min(_CANDIDATES, far.shape[-1]), largest=False).indices)
            for level, far in parts
        ],
        dim=-1,
    )  # (N, B, 9 * L)
    threshold = candidates.mean(dim=-1, keepdim=True) + candidates.std(dim=-1, keepdim=True)
    inside = (near >= 0.25 * threshold) & (near < threshold)
    return iou * inside
