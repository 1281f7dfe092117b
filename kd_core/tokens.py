"""Tokens of transformers as maps: patches without class token, a DETR's memory of each level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_FIRST = ("cls_token", "dist_token", "reg_token", "class_token")  # each a parameter (1, n, C)


@dataclass(frozen=True)
class TokenGrid:
    """Tokens (N, prefix + H * W, C) of a transformer, which become maps (N, C, H, W).

    Args:
        prefix: Tokens before those of the grid, such as the class token.
        size: Height and width of the grid, where it is the same for images of any size.
    """

    prefix: int
    size: tuple[int, int] | None = None

    def to_map(self, tokens: Tensor, image_size: tuple[int, int] | None) -> Tensor:
        """Turn tokens into a map.

        Args:
            tokens: Tokens (N, L, C).
            image_size: Height and width of the images that gave them.

        Returns:
            Map (N, C, H, W).

        Raises:
            ValueError: If they are no grid with the images' proportions.
        """
        count = tokens.shape[1] - self.prefix
        size = self.size or (image_size and grid_of(count, image_size))
        if not size or size[0] * size[1] != count:
            raise ValueError(
                f"tokens (N, L, C) must be {self.prefix} and those of a grid with the proportions "
                f"of the images, but they are {tuple(tokens.shape)} of images {image_size}."
            )
        channels_first = tokens[:, self.prefix :].transpose(1, 2)  # (N, C, H*W)
        return channels_first.reshape(*channels_first.shape[:2], *size)


def prefix_of(model: nn.Module, path: str) -> int | None:
    """Return how many tokens a transformer's layer gives before those of the grid.

    Args:
        model: Any model.
        path: Dotted path of the layer; the modules around it say, the innermost first.

    Returns:
        The number; ``None`` if the layer is not part of a vision transformer, nor the encoder of a
        DETR that reads one level.
    """
    names = path.split(".") if path else []
    for count in range(len(names), -1, -1):
        try:
            around: Any = model.get_submodule(".".join(names[:count]))
        except AttributeError:  # a name for the model's own output
            continue
        if hasattr(around, "patch_embed") or hasattr(around, "conv_proj"):
            known = getattr(around, "num_prefix_tokens", None)  # of timm
            tokens = [getattr(around, name, None) for name in _FIRST]
            return sum(t.shape[1] for t in tokens if t is not None) if known is None else int(known)
        if names[count : count + 1] == ["encoder"] and hasattr(around, "positional_encoding"):
            return None if hasattr(around, "level_embed") else 0  # a DETR's memory of one level
    return None


def as_levels(output: Any, arguments: Mapping[str, Any]) -> Any:
    """Return the memory of a deformable encoder as maps, one for each level; all else as it is.

    Args:
        output: A layer's output; tokens (N, sum of H * W, C) of such an encoder or a part of it.
        arguments: What the layer was called with, by name: ``spatial_shapes`` (L, 2) are height and
            width of each level. A decoder's ``value`` is another tensor than its ``query``, and its
            output, of queries, is no memory.

    Returns:
        Maps (N, C, H, W) as a tuple, or the output.
    """
    shapes = arguments.get("spatial_shapes")
    value = arguments.get("value")
    of_queries = value is not None and value is not arguments.get("query")
    if shapes is None or of_queries or not isinstance(output, Tensor) or output.dim() != 3:
        return output
    sizes = [tuple(size) for size in torch.as_tensor(shapes).tolist()]
    counts = [height * width for height, width in sizes]
    if sum(counts) != output.shape[1]:
        return output
    levels = zip(output.split(counts, dim=1), sizes, strict=True)
    return tuple(tokens.transpose(1, 2).unflatten(2, size) for tokens, size in levels)


def grid_of(count: int, image_size: tuple[int, int]) -> tuple[int, int] | None:
    """Return height and width of a grid of tokens with the proportions of an image, or ``None``.

    Args:
        count: H * W.
        image_size: Height and width of the image.

    Example:
        >>> grid_of(196, (224, 224)), grid_of(200, (128, 256)), grid_of(30, (64, 64))
        ((14, 14), (10, 20), None)
    """
    nearest = round((count * image_size[0] / image_size[1]) ** 0.5)
    for height in (nearest, nearest - 1, nearest + 1):
        if height > 0 and count % height == 0:
            strides = image_size[0] / height, image_size[1] / (count // height)
            # A patch that is cut off at the edge changes a stride by less than a patch.
            if max(strides) < min(strides) * (1 + 1 / max(min(height, count // height), 2)):
                return height, count // height
    return None
