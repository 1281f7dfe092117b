"""Images to run a detector on: real ones of a config's test data, or random ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from torch import nn

from kd_core.teacher import eval_mode


def random_batch(count: int = 2, size: tuple[int, int] = (256, 320)) -> dict[str, Any]:
    """Make noise images as a data loader would yield them; always the same.

    Args:
        count: Number of images.
        size: Height and width in pixels.

    Returns:
        Images (3, H, W) in uint8 and their samples, with one box of class 0 on each.
    """
    generator = torch.Generator().manual_seed(0)
    height, width = size
    coarse = torch.rand(count, 3, height // 16 + 1, width // 16 + 1, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    images = (images + 0.1 * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    inputs = list((images * 255).to(torch.uint8))
    return {"inputs": inputs, "data_samples": random_samples(count, size)}


def random_samples(count: int, size: tuple[int, int]) -> list[DetDataSample]:
    """Make the samples of images, with one box of class 0 on each.

    Args:
        count: Number of images.
        size: Height and width in pixels.
    """
    height, width = size
    samples = []
    for number in range(count):
        meta = {
            "img_id": number,
            "img_path": f"noise {number}",
            "ori_shape": size,
            "img_shape": size,
            "pad_shape": size,
            "batch_input_shape": size,
            "scale_factor": (1.0, 1.0),
        }
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[0.0, 0.0, width / 2, height / 2]]), labels=torch.zeros(1).long()
        )
        samples.append(sample)
    return samples


def read_test_batch(config: Config, count: int = 4) -> dict[str, Any]:
    """Read the first images of a config's test data."""
    dataset = DATASETS.build(_with_indices(config.test_dataloader.dataset, count))
    batch: dict[str, Any] = pseudo_collate([dataset[i] for i in range(min(count, len(dataset)))])
    return batch


def dry_run(model: nn.Module, size: tuple[int, int] = (256, 320)) -> None:
    """Run a detector on random images, without gradients; its modes stay as they are."""
    detector: Any = model
    with torch.no_grad(), eval_mode(model):
        data = detector.data_preprocessor(random_batch(2, size), False)
        detector(**data, mode="tensor")


def _with_indices(dataset: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Restrict a plain dataset to its first images; wrappers are read whole."""
    plain = "dataset" not in dataset and "datasets" not in dataset
    return {**dataset, "indices": count} if plain else dict(dataset)
