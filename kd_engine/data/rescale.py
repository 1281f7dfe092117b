"""Rescaling: a batch of the student's images becomes one of the size that a teacher wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Rescale:
    """Bilinear resizing of images, with antialiasing, to another size.

    Args:
        scale: Factor on height and width, above 0, or height and width in pixels of all images: an
            image of other proportions is distorted, and so are the maps, as a whole.

    Raises:
        ValueError: If the scale is neither.

    Example:
        >>> import torch
        >>> Rescale(0.5)(torch.zeros(1, 3, 64, 96)).shape
        torch.Size([1, 3, 32, 48])
        >>> Rescale((56, 70))(torch.zeros(1, 3, 64, 96)).shape
        torch.Size([1, 3, 56, 70])
    """

    scale: float | Sequence[int]

    def __post_init__(self) -> None:
        sizes = self.scale if isinstance(self.scale, Sequence) else [self.scale]
        numbers = all(isinstance(one, int | float) and one > 0 for one in sizes)
        if not numbers or (isinstance(self.scale, Sequence) and len(sizes) != 2):
            raise ValueError(
                "scale must be a factor above 0, or height and width in pixels, but it is "
                f"{self.scale!r}."
            )

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that images of some size get."""
        if isinstance(self.scale, Sequence):
            return int(self.scale[0]), int(self.scale[1])
        return max(round(height * self.scale), 1), max(round(width * self.scale), 1)

    def check_proportions(self, size: tuple[int, int]) -> None:
        """Require that a dry run's images have the proportions of those that they become.

        Raises:
            ValueError: If they have not: layouts of features are found by the proportions.
        """
        height, width = self.size(*size)
        if abs(height * size[1] - width * size[0]) >= max(*size, height, width):
            raise ValueError(
                f"the dry run's images must have the proportions of scale, {height} x {width}, but "
                f"they are {size[0]} x {size[1]}. Set dry_run_size, such as ({height}, {width})."
            )

    def __call__(self, images: Tensor) -> Tensor:
        """Resize images (N, 3, H, W)."""
        size = self.size(images.shape[2], images.shape[3])
        if size == images.shape[2:]:
            return images
        return F.interpolate(images, size, mode="bilinear", antialias=True)


def rescaled(convert: Callable[..., Tensor] | None, rescale: Rescale) -> Callable[..., Tensor]:
    """Return a converter that also resizes.

    Args:
        convert: What turns the student's images, and samples, into the teacher's, of the same size.
        rescale: The size.
    """

    def converted(images: Tensor, samples: Any = None) -> Tensor:
        return rescale(images if convert is None else convert(images, samples))

    return converted
