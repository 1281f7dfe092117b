"""Networks inside a model: building them, usual normalization, and errors about image sizes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

# Of ImageNet, for RGB values from 0 to 255: what torchvision's and most of timm's networks expect.
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
IMAGENET = dict(type="ImgDataPreprocessor", mean=[*IMAGENET_MEAN], std=[*IMAGENET_STD])


def build_network(network: Mapping[str, Any] | nn.Module, name: str, known: str) -> nn.Module:
    """Build a network from its config; a module is taken as it is.

    Args:
        network: The config or the module.
        name: Name of the argument, for the message.
        known: Types to choose from, for the message.

    Raises:
        ValueError: If the type is unknown.
    """
    if isinstance(network, nn.Module):
        return network
    try:
        found: nn.Module = MODELS.build(dict(network))
    except KeyError as error:  # of mmengine's registry
        raise ValueError(
            f"{name} must be dict(type=...) of {known} or a module of your own, but it is "
            f"{dict(network)}: {error}"
        ) from error
    return found


@contextlib.contextmanager
def sizes_refused(name: str, images: Tensor, remedy: str) -> Iterator[None]:
    """Explain that a network does not take images of a size: transformers assert it.

    Args:
        name: Name of the network, for the message.
        images: The images (N, 3, H, W).
        remedy: What to do about it.

    Raises:
        ValueError: If the block raises AssertionError.
    """
    try:
        yield
    except AssertionError as error:
        height, width = images.shape[2:]
        raise ValueError(
            f"the {name} does not take images of {height} x {width}: {error} {remedy}"
        ) from error


def wanted_image_size(network: nn.Module) -> tuple[int, int] | None:
    """Return the height and width of images that a network takes, if it takes no others.

    Args:
        network: A network of torchvision, whose transformers have ``image_size``, of timm, or any
            that has that attribute.

    Returns:
        Pixels, or ``None`` if it does not say.
    """
    size: Any = getattr(network, "image_size", None)
    size = size or getattr(getattr(network, "patch_embed", None), "img_size", None)
    settings = getattr(network, "default_cfg", None) or {}  # of timm's models
    if size is None and settings.get("fixed_input_size"):
        size = settings["input_size"][1:]
    if size is None:
        return None
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
