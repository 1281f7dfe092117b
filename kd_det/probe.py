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
from kd_det.heads import run_heads, takes_batches
from kd_engine.data.required import require_datasets
from kd_engine.doctor.probe import counted
from kd_engine.networks import wanted_image_size

_SIZE = (256, 320)  # height and width in pixels
_HEADS = frozenset(("bbox_head", "roi_head"))  # on the way to the last of them all others run


def random_batch(count: int = 2, size: tuple[int, int] = _SIZE) -> dict[str, Any]:
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
            "border": (0.0, float(height), 0.0, float(width)),  # which CenterNet subtracts
        }
        sample = DetDataSample(metainfo=meta)
        boxes = torch.tensor([[0.0, 0.0, width / 2, height / 2]])
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.zeros(1).long())
        sample.proposals = InstanceData(bboxes=boxes.clone(), scores=torch.ones(1))  # Fast R-CNN
        samples.append(sample)
    return samples


def read_test_batch(config: Config, count: int = 4) -> dict[str, Any]:
    """Read the first images of a config's test data."""
    dataset = DATASETS.build(_with_indices(config.test_dataloader.dataset, count))
    batch: dict[str, Any] = pseudo_collate([dataset[i] for i in range(min(count, len(dataset)))])
    return batch


def test_batch(
    config: Config, count: int = 4, size: tuple[int, int] | None = None
) -> tuple[dict[str, Any], str]:
    """Read the first images of a config's test data, or make random ones if it is absent.

    Args:
        config: The config of a run.
        count: How many.
        size: Height and width of random images; None takes the test pipeline's.

    Returns:
        A batch as a data loader yields it, and a text about its origin.
    """
    try:
        require_datasets(config, ("test_dataloader",))
    except FileNotFoundError as error:
        batch = random_batch(count, size or size_of_test_images(config))
        return batch, f"{counted(count, 'random image')} (its test data is absent: {error})"
    batch = read_test_batch(config, count)
    return batch, f"{counted(len(batch['inputs']), 'image')} of its test data"


def size_of_test_images(config: Config) -> tuple[int, int]:
    """Return height and width of random images: ``dry_run_size``, or the test pipeline's.

    The latter is the size to which it resizes, at most. Without either it is 256 x 320.
    """
    if given := (config.get("model") or {}).get("dry_run_size"):
        return int(given[0]), int(given[1])
    dataset = (config.get("test_dataloader") or {}).get("dataset") or {}
    while "pipeline" not in dataset and "dataset" in dataset:
        dataset = dataset["dataset"]
    scales = [one["scale"] for one in dataset.get("pipeline", ()) if one.get("scale")]
    if not scales or isinstance(scales[-1], int | float):
        return _SIZE
    width, height = scales[-1]
    return int(height), int(width)


def fixed_image_size(model: nn.Module) -> tuple[int, int] | None:
    """Return the height and width of the only images that a detector takes, such as SSD300's."""
    head = getattr(model, "bbox_head", None)
    size = getattr(getattr(head, "prior_generator", None), "input_size", None)  # SSD's anchors
    if size is not None:
        return (int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[1]))
    backbone = getattr(model, "backbone", None)
    found = (wanted_image_size(one) for one in (backbone, getattr(backbone, "body", None)) if one)
    return next(filter(None, found), None)


def dry_run(model: nn.Module, size: tuple[int, int] | None = None) -> None:
    """Run a detector on two random images, without gradients; its modes stay as they are.

    Guided Anchoring runs on one image, for it takes no batch in eval mode.

    Args:
        model: The detector.
        size: Height and width in pixels; ``None`` takes its fixed size, otherwise 256 x 320.
    """
    detector: Any = model
    size = size or fixed_image_size(model) or _SIZE
    with torch.no_grad(), eval_mode(model):
        batch = random_batch(2 if takes_batches(model) else 1, size)
        data = detector.data_preprocessor(batch, False)
        run_heads(detector, _HEADS, data["inputs"], data["data_samples"], None)


def _with_indices(dataset: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Restrict a plain dataset to its first images; wrappers are read whole."""
    plain = "dataset" not in dataset and "datasets" not in dataset
    return {**dataset, "indices": count} if plain else dict(dataset)
