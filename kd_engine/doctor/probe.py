"""Images to run a model on: real ones of a config's test data, or random ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from torch import Tensor, nn

from kd_core.teacher import eval_mode
from kd_engine.build import student_config
from kd_engine.data.required import require_datasets

_DEFAULT = 128  # pixels, the default


def probe_images(
    config: Config, count: int = 4, size: tuple[int, int] | None = None
) -> tuple[Tensor, str]:
    """Read the first images of a config's test data, or draw random ones if it is absent.

    Args:
        config: The config of a run.
        count: How many.
        size: Height and width of random images; None takes what the config says of test images.

    Returns:
        Images uint8 (N, 3, H, W), and a text about their origin.
    """
    try:
        data = _test_data(config)
    except FileNotFoundError as error:
        images = random_images(count, size or size_of_test_images(config))
        return images, f"{counted(count, 'random image')} (its test data is absent: {error})"
    found = torch.stack([data[i]["inputs"] for i in range(min(count, len(data)))])
    return found, f"{counted(len(found), 'image')} of its test data"


def counted(number: int, what: str) -> str:
    """Return a number of things in words, such as "2 images"."""
    return f"{number} {what}{'s' * (number != 1)}"


def random_images(count: int, size: tuple[int, int]) -> Tensor:
    """Draw smooth noise uint8 (N, 3, H, W), always the same."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, size[0] // 8 + 1, size[1] // 8 + 1, generator=generator)
    images = nn.functional.interpolate(coarse, size, mode="bilinear")
    images = images + 0.1 * torch.randn(images.shape, generator=generator)
    return (images.clamp(0, 1) * 255).to(torch.uint8)


def size_of_test_images(config: Config) -> tuple[int, int]:
    """Return the height and width of test images.

    They are the last size that their transforms name, otherwise the model's.
    """
    loader = config.get("test_dataloader") or {}
    transforms = (loader.get("dataset") or {}).get("transforms") or []
    sizes = [one["size"] for one in transforms if isinstance(one, Mapping) and one.get("size")]
    wanted = student_config(config.model).get("image_size")
    size: Any = sizes[-1] if sizes else wanted or config.model.get("dry_run_size") or _DEFAULT
    if isinstance(size, int):
        return size, size
    return int(size[0]), int(size[-1])


def normalized(model: nn.Module, images: Tensor) -> Tensor:
    """Prepare images uint8 (N, 3, H, W) as the model's own preprocessor does."""
    preprocessor: Any = model.data_preprocessor
    inputs: Tensor = preprocessor({"inputs": images}, False)["inputs"]
    return inputs


def run_once(model: nn.Module, size: tuple[int, int]) -> None:
    """Run a model on two random images, without gradients; its modes stay as they are.

    Args:
        model: A model of images (N, 3, H, W).
        size: Height and width in pixels.
    """
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), eval_mode(model):
        model(images)


def _test_data(config: Config) -> Any:
    loader = config.get("test_dataloader")
    if not loader:
        raise FileNotFoundError("the config has no test_dataloader.")
    require_datasets(config, ("test_dataloader",))
    init_default_scope(config.get("default_scope") or "mmengine")
    return DATASETS.build(loader["dataset"])
