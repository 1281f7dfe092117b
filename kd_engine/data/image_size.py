"""Image size that a network requires."""

from __future__ import annotations

from typing import Any

from torch import nn


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
