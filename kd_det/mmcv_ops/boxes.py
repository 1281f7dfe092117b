"""Non-maximum suppression and box overlaps; boxes are (B, 4), xyxy."""

import torch
from torch import Tensor

SERVED = ("nms", "softnms", "nms_match", "bbox_overlaps")
_NAIVE, _LINEAR = 0, 1  # mmcv's codes for the soft-NMS methods; 2 is Gaussian


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the kept boxes, best score first; boxes above the IoU threshold go."""
    boxes = _precise(boxes)
    boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    kept: Tensor = torch.ops.torchvision.nms(boxes, scores.to(boxes.dtype), iou_threshold)
    return kept


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Write boxes with decayed scores into `dets` (B, 5), in order; returns their indices."""
    boxes = _precise(boxes)
    scores = scores.to(boxes.dtype)
    indices = torch.arange(len(boxes), device=boxes.device)
    kept: list[Tensor] = []
    while len(scores):
        best = int(scores.argmax())
        dets[len(kept), :4] = boxes[best].to(dets.dtype)
        dets[len(kept), 4] = scores[best].to(dets.dtype)
        kept.append(indices[best])
        iou = _overlaps(boxes[best], boxes, offset, iof=False).nan_to_num(0.0)  # no area
        scores = scores * _decay(iou, iou_threshold, sigma, method)
        rest = ~(scores < min_score)
        rest[best] = False
        boxes, scores, indices = boxes[rest], scores[rest], indices[rest]
    return torch.stack(kept) if kept else indices


def _decay(iou: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    if method == _NAIVE:
        return (iou < iou_threshold).to(iou.dtype)
    if method == _LINEAR:
        return torch.where(iou >= iou_threshold, 1 - iou, 1.0)
    return torch.exp(-(iou**2) / sigma)


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Group `dets` (B, 5): each kept box, followed by those it suppresses, best score first."""
    order = dets[:, 4].argsort(descending=True, stable=True)
    boxes = _precise(dets[:, :4])
    groups = []
    while len(order):
        iou = _overlaps(boxes[order[0]], boxes[order], 0, iof=False)
        member = iou >= iou_threshold
        member[0] = True
        groups.append(order[member].tolist())
        order = order[~member]
    return groups


def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int
) -> None:
    """Write IoU (mode 0) or intersection over the first box (mode 1), (B,) or (B1, B2)."""
    first = _precise(bboxes1) if aligned else _precise(bboxes1)[:, None]
    ious.copy_(_overlaps(first, _precise(bboxes2), offset, iof=mode == 1))


def _overlaps(first: Tensor, second: Tensor, offset: int, iof: bool) -> Tensor:
    size = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(
        first[..., :2], second[..., :2]
    )
    intersection = (size + offset).clamp(min=0).prod(-1)
    area = (first[..., 2:] - first[..., :2] + offset).prod(-1)
    if not iof:
        area = area + (second[..., 2:] - second[..., :2] + offset).prod(-1) - intersection
    return intersection / area


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype in (torch.float32, torch.float64) else x.float()
