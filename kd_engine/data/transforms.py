"""Image transforms by config."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional


def build_transforms(configs: Sequence[Mapping[str, Any]]) -> Callable[[Image.Image], Tensor]:
    """Build transforms from an image of PIL to a tensor uint8 (3, H, W).

    Args:
        configs: One ``dict(type=, ...)`` for each. A bare name is of ``torchvision.transforms.v2``
            (``dict(type="RandomResizedCrop", size=224)``), a dotted one any class or function that
            makes a transform. An argument may itself be such a dict or a list of them
            (``dict(type="RandomApply", transforms=[...], p=0.3)``).

    Returns:
        A function that applies them one after another. Normalization belongs to the model's
        ``data_preprocessor``, not here.

    Raises:
        ValueError: If there is no transform of that name, or its arguments do not fit.

    Example:
        >>> build_transforms([dict(type="Resize", size=8)])(Image.new("RGB", (16, 32))).shape
        torch.Size([3, 16, 8])
    """
    return _Pipeline([_build(dict(config)) for config in configs])


class _Pipeline:
    def __init__(self, steps: Sequence[Callable[[Any], Any]]) -> None:
        self.steps = steps

    def __call__(self, image: Image.Image) -> Tensor:
        found: Any = image
        for step in self.steps:
            found = step(found)
        if isinstance(found, Image.Image):
            found = functional.pil_to_tensor(found)
        if not isinstance(found, Tensor) or found.dtype != torch.uint8 or not _is_rgb(found):
            kind = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else found
            raise ValueError(
                f"transforms must give an image or uint8 (3, H, W), but they give {kind}. Leave "
                "ToDtype and Normalize out, which the model's data_preprocessor does, and let "
                "Grayscale give 3 channels."
            )
        return found.as_subclass(Tensor)


def _is_rgb(image: Tensor) -> bool:
    return image.dim() == 3 and image.shape[0] == 3


def _build(config: dict[str, Any]) -> Callable[[Any], Any]:
    name = config.pop("type", None)
    if not isinstance(name, str):
        raise ValueError(f"a transform must be dict(type=..., ...), but it is {config}.")
    kind = _find(name)
    options = {key: _nested(value) for key, value in config.items()}
    try:
        built: Callable[[Any], Any] = kind(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the transform {name}: {error}.") from error
    return built


def _nested(value: Any) -> Any:
    """Build the transforms within an argument."""
    if isinstance(value, Mapping) and "type" in value:
        return _build(dict(value))
    if isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value):
        return [_nested(one) for one in value]
    return value


def _find(name: str) -> Any:
    """Find a transform of torchvision by its bare name, or anything by a dotted one."""
    if "." in name:
        module, _, attribute = name.rpartition(".")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"there is no transform {name}: {error}.") from error
    if not isinstance(getattr(v2, name, None), type):
        near = ", ".join(difflib.get_close_matches(name, vars(v2), n=4)) or "its documentation"
        raise ValueError(f"torchvision.transforms.v2 has no {name!r}; see {near}.")
    return getattr(v2, name)
