"""Images for looking at an embedder: real ones of a config's test data, or random ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from kd_retrieval.extract import open_dataset

_DEFAULT = 128  # pixels, where nothing says more


def probe_images(
    config: Config, count: int = 4, size: tuple[int, int] | None = None
) -> tuple[Tensor, str]:
    """Read the first images of a config's test data, or draw random ones if it is absent.

    Args:
        config: The config of a run.
        count: How many.
        size: Height and width of random images; None takes what the config says of test images.

    Returns:
        Images uint8 (N, 3, H, W), and what they are.
    """
    try:
        data = open_dataset(config, "test")
    except (FileNotFoundError, ValueError) as error:
        if isinstance(error, ValueError) and config.get("test_dataloader"):
            raise
        images = random_images(count, size or size_of_test_images(config))
        return images, f"{count} random images (its test data is absent: {error})"
    found = torch.stack([data[i]["inputs"] for i in range(min(count, len(data)))])
    return found, f"{len(found)} images of its test data"


def random_images(count: int, size: tuple[int, int]) -> Tensor:
    """Draw smooth noise uint8 (N, 3, H, W), always the same."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, size[0] // 8 + 1, size[1] // 8 + 1, generator=generator)
    images = nn.functional.interpolate(coarse, size, mode="bilinear")
    images = images + 0.1 * torch.randn(images.shape, generator=generator)
    return (images.clamp(0, 1) * 255).to(torch.uint8)


def size_of_test_images(config: Config) -> tuple[int, int]:
    """Tell the height and width of test images: the last size that their transforms name."""
    loader = config.get("test_dataloader") or {}
    transforms = (loader.get("dataset") or {}).get("transforms") or []
    sizes = [one["size"] for one in transforms if isinstance(one, Mapping) and one.get("size")]
    size: Any = sizes[-1] if sizes else config.model.get("dry_run_size", _DEFAULT)
    if isinstance(size, int):
        return size, size
    return int(size[0]), int(size[-1])


def normalised(model: nn.Module, images: Tensor) -> Tensor:
    """Prepare images uint8 (N, 3, H, W) as the model's own preprocessor does."""
    preprocessor: Any = model.data_preprocessor
    inputs: Tensor = preprocessor({"inputs": images}, False)["inputs"]
    return inputs
