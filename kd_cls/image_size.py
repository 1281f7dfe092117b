"""The size of images that a classifier wants."""

from __future__ import annotations

from torch import nn

_USUAL = 32


def image_size_of(*models: nn.Module) -> tuple[int, int]:
    """Tell the height and width of images that classifiers take.

    Args:
        models: Classifiers; the first that says a size of its own, or whose transformer does,
            decides. If none does it is 32 x 32.
    """
    for model in models:
        network = getattr(model, "network", model)
        settings = getattr(network, "default_cfg", None) or {}  # of timm's models
        size = getattr(model, "image_size", None) or getattr(network, "image_size", None)
        size = size or getattr(getattr(network, "patch_embed", None), "img_size", None)
        if size is None and settings.get("fixed_input_size"):
            size = settings["input_size"][1:]
        if size is not None:
            return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    return _USUAL, _USUAL
