"""Base class of classification datasets: images with a class and an id."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from kd_engine.data.images import read_image
from kd_engine.data.splits import split_inside_classes
from kd_engine.data.transforms import build_transforms

_VALIDATION = 0.1  # share of the training images of each class
_SHOWN = 5  # names in a message


class Images(Protocol):
    """Source of the images of a dataset: memory or files."""

    def read(self, index: int) -> Image.Image:
        """Return an image as RGB of PIL."""

    def name(self, index: int) -> str:
        """Name an image, for messages."""

    def select(self, rows: NDArray[Any]) -> Images:
        """Take some of them."""


class DecodedImages:
    """Images in memory: H * W bytes each where they are gray, otherwise three times as many.

    Args:
        pixels: uint8 (n, H, W) or (n, H, W, 3).
    """

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels

    def read(self, index: int) -> Image.Image:
        """Return an image as RGB of PIL; gray ones have three equal channels."""
        return Image.fromarray(self.pixels[index]).convert("RGB")

    def name(self, index: int) -> str:
        """Name an image by its place in this split."""
        return f"image {index} of the split"

    def select(self, rows: NDArray[Any]) -> DecodedImages:
        """Copy some of them."""
        return DecodedImages(self.pixels[rows])


class ImageFiles:
    """Images in files, decoded each time.

    A path takes as many bytes as the longest of them: a million of 40 take 40 MB, once for all
    worker processes.

    Args:
        root: Folder that the paths are relative to.
        paths: With forward slashes.
    """

    def __init__(self, root: str | Path, paths: Sequence[str] | NDArray[np.bytes_]) -> None:
        self.root = Path(root)
        self.paths = np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)

    def read(self, index: int) -> Image.Image:
        """Decode an image; see :func:`kd_engine.data.images.read_image`."""
        return read_image(self.root / self.name(index))

    def name(self, index: int) -> str:
        """Name an image by its path."""
        return os.fsdecode(self.paths[index])

    def select(self, rows: NDArray[Any]) -> ImageFiles:
        """Take some of them."""
        return ImageFiles(self.root, self.paths[rows])


def decoded(images: ImageFiles, size: tuple[int, int]) -> DecodedImages:
    """Decode images once, resize them and keep them: H * W * 3 bytes each.

    The data check, the training and the evaluation of one process share what is decoded: the
    latest two sets are kept.

    Args:
        images: Where they are.
        size: Height H and width W.

    Raises:
        ValueError: If one cannot be decoded; names the file.
    """
    names = tuple(images.name(row) for row in range(len(images.paths)))
    paths = [images.root / name for name in names]
    changed = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)
    return DecodedImages(_pixels(images.root, names, changed, size))


@functools.lru_cache(maxsize=2)
def _pixels(
    root: Path, names: tuple[str, ...], changed: tuple[int, ...], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Decode images that were last changed at these times."""
    pixels = np.empty((len(names), *size, 3), dtype=np.uint8)
    for row, name in enumerate(names):
        image = read_image(root / name)
        pixels[row] = np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))
    pixels.flags.writeable = False  # shared
    return pixels


@dataclass
class Samples:
    """The images of a split.

    Attributes:
        images: Where they are.
        labels: Index of each image's class in ``class_names``, int64 (n,).
        ids: Id of each image, int64 (n,), unique over all splits of a dataset.
        class_names: All classes, the same in every split.
    """

    images: Images
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]
    class_names: tuple[str, ...]

    def select(self, rows: NDArray[Any]) -> Samples:
        """Take rows; all classes are kept."""
        return Samples(
            self.images.select(rows), self.labels[rows], self.ids[rows], self.class_names
        )

    def part(self, split: str) -> Samples:
        """Take ``train`` or ``val`` from all training images, or all of them (``trainval``).

        ``val`` is a tenth of each class, drawn by
        :func:`kd_engine.data.splits.split_inside_classes` with seed 0.
        """
        if split not in ("train", "val"):
            return self
        parts = split_inside_classes(self.labels, (1 - _VALIDATION, _VALIDATION, 0.0))
        return self.select(np.sort(parts[split]))


class ClassificationDataset(Dataset[dict[str, Any]]):
    """Images with their class and id.

    An item is ``dict(inputs=uint8 (3, H, W), labels=int, ids=int)``. All items have one size.

    Args:
        root: Folder or file that they come from, for messages.
        samples: The images.
        transforms: Configs for :func:`kd_engine.data.transforms.build_transforms`.

    Raises:
        ValueError: If a class has no image, or an id comes twice.
    """

    def __init__(
        self, root: str | Path, samples: Samples, transforms: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self.root = Path(root)
        self.images, self.labels, self.ids = samples.images, samples.labels, samples.ids
        self.class_names = samples.class_names
        self.metainfo = dict(classes=self.class_names)
        self._transform = build_transforms(transforms)
        self._size: tuple[int, ...] | None = None
        self._check(samples)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self._transform(self.read(index))
        size = tuple(image.shape[1:])
        self._size = self._size or size
        if size != self._size:
            raise ValueError(
                f"all images must have one size, but {self.images.name(index)} of {self.root} is "
                f"{size[0]} x {size[1]} after the transforms and another one is "
                f"{self._size[0]} x {self._size[1]}. Give the dataset transforms that end in a "
                "fixed size."
            )
        return dict(inputs=image, labels=int(self.labels[index]), ids=int(self.ids[index]))

    def read(self, index: int) -> Image.Image:
        """Return an image as RGB of PIL, before the transforms.

        Raises:
            ValueError: If it cannot be decoded; names the file.
        """
        return self.images.read(index)

    def _check(self, samples: Samples) -> None:
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        if empty := [self.class_names[label] for label in np.flatnonzero(counts == 0)]:
            raise ValueError(
                f"every class must have an image, but {len(empty)} of {len(self.class_names)} in "
                f"this split of {self.root} have none: {', '.join(empty[:_SHOWN])}. Complete the "
                "data, or take the class out of all splits."
            )
        if len(np.unique(self.ids)) < len(self.ids):
            raise ValueError(
                f"ids must be unique, but {self.root} has {len(np.unique(self.ids))} different "
                f"ones for {len(self.ids)} images."
            )


def require_file(path: Path) -> Path:
    """Require a file of a dataset.

    Raises:
        FileNotFoundError: If it is missing.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing. 'kdkit fetch --help' says where to get the data and shows the "
            "layouts of what is fetched by hand."
        )
    return path


def require_labels(path: Path, labels: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Require labels that stand for a class.

    Args:
        path: Where they come from, for the message.
        labels: Whole numbers (n,).
        classes: Number of classes.

    Returns:
        The labels as int64.

    Raises:
        ValueError: If one is not 0 to classes - 1.
    """
    if len(labels) and not (0 <= labels.min() and labels.max() < classes):
        raise ValueError(
            f"labels of {path} must be 0 to {classes - 1}, but they are {labels.min()} to "
            f"{labels.max()}. Fetch it again."
        )
    return labels.astype(np.int64)


def require_count(
    name: str, found: int, wanted: int, what: str = "images", remedy: str = "Fetch it again."
) -> None:
    """Require the published number of images, or of other items.

    Raises:
        ValueError: If the number differs.
    """
    if found != wanted:
        raise ValueError(f"{name} must have {wanted:,} {what}, but there are {found:,}. {remedy}")
