"""Two small images with all that a family of mmdet can want: boxes, masks, areas, proposals."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData, PixelData

from kd_det.probe import random_samples

_BOXES = ((0.1, 0.1, 0.6, 0.7), (0.4, 0.3, 0.9, 0.9), (0.2, 0.5, 0.5, 0.8))  # of width, height


def full_batch(sizes: list[tuple[int, int]], masks: bool) -> dict[str, Any]:
    """Make noise images as a data loader yields them; always the same.

    Args:
        sizes: Height and width in pixels of each image.
        masks: Give each box a mask; RTMDet, for one, takes none.

    Returns:
        Images (3, H, W) in uint8, and samples with three boxes of the first class, a semantic map
        and proposals.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes
    ]
    samples = [_sample(number, size, masks) for number, size in enumerate(sizes)]
    return {"inputs": inputs, "data_samples": samples}


def _sample(number: int, size: tuple[int, int], with_masks: bool) -> DetDataSample:
    height, width = size
    sample = random_samples(1, size)[0]
    sample.set_metainfo({"img_id": number})
    boxes = torch.tensor(_BOXES) * torch.tensor([width, height, width, height])
    masks = np.zeros((len(boxes), height, width), dtype=np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    labels = torch.zeros(len(boxes), dtype=torch.long)
    sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
    sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=labels[:0])
    if with_masks:
        sample.gt_instances.masks = BitmapMasks(masks, height, width)
        sample.ignored_instances.masks = BitmapMasks(masks[:0], height, width)
    areas = torch.zeros(1, height, width, dtype=torch.long)
    areas[:, height // 2 :] = 1
    sample.gt_sem_seg = PixelData(sem_seg=areas)
    sample.proposals = InstanceData(bboxes=boxes + 2.0, scores=torch.ones(len(boxes)))
    return sample
