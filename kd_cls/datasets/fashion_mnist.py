"""Fashion-MNIST in its official idx files."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_cls.datasets.samples import (
    ClassificationDataset,
    DecodedImages,
    Samples,
    require_count,
    require_file,
    require_labels,
)
from kd_engine.data.splits import check_split

CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
TRAINING, TEST = 60_000, 10_000
_MOST = 200_000  # items in a file; a damaged header must not fill the memory


class FashionMNIST(ClassificationDataset):
    """Clothes, 28 x 28, gray, 10 classes: 60,000 to train on, 10,000 to test.

    Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms", 2017, https://github.com/zalandoresearch/fashion-mnist. ``val`` is a
    tenth of each training class. All are held in memory: 47 MB to train, 8 MB to test, and twice
    as much while they are read. An id is an image's place in its file, in the test file 60,000
    more.

    Args:
        data_root: Folder with the four ``.gz`` files.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        transforms: Configs of transforms.
        limit: Train on this many images: the first ``limit / 10`` of each class, in the file's
            order; ``val`` comes out of them. The test set stays whole. Needed where the training
            file itself is a part of the published one.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, the counts are others, or the limit does not fit.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "trainval",
        transforms: Sequence[Mapping[str, Any]] = (),
        limit: int | None = None,
    ) -> None:
        check_split(split)
        prefix = "t10k" if split == "test" else "train"
        root = Path(data_root)
        pixels = _read(root / f"{prefix}-images-idx3-ubyte.gz", 3)
        path = root / f"{prefix}-labels-idx1-ubyte.gz"
        labels = require_labels(path, _read(path, 1), len(CLASSES))
        if pixels.shape != (len(labels), 28, 28):
            raise ValueError(
                f"images and labels of {root} must be as many, of 28 x 28, but they are "
                f"{pixels.shape} and {len(labels)}. Fetch them again."
            )
        if split == "test":
            require_count(f"{prefix} of {root}", len(labels), TEST)
        rows = _first_of_each(path, labels, limit) if split != "test" else np.arange(len(labels))
        if split != "test" and limit is None:
            remedy = f"Say how many to train on: limit={len(labels)} takes these."
            require_count(f"Fashion-MNIST of {root}", len(labels), TRAINING, remedy=remedy)
        first = TRAINING if split == "test" else 0
        samples = Samples(DecodedImages(pixels[rows]), labels[rows], first + rows, CLASSES)
        super().__init__(root, samples.part(split), transforms)


def _first_of_each(path: Path, labels: NDArray[np.int64], limit: int | None) -> NDArray[np.int64]:
    """Return the rows of the first images of each class, in order."""
    if limit is None:
        return np.arange(len(labels))
    each, rest = divmod(limit, len(CLASSES))
    fewest = int(np.bincount(labels, minlength=len(CLASSES)).min())
    if rest or not 1 <= each <= fewest:
        raise ValueError(
            f"limit must be a multiple of {len(CLASSES)} from {len(CLASSES)} to "
            f"{fewest * len(CLASSES)}, as many as {path} has of the rarest class times "
            f"{len(CLASSES)}, but it is {limit}."
        )
    rows = [np.flatnonzero(labels == label)[:each] for label in range(len(CLASSES))]
    return np.sort(np.concatenate(rows))


def _read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read a compressed idx file of unsigned bytes: a big-endian header, then the data."""
    require_file(path)
    head = 4 * (1 + dimensions)
    try:
        with gzip.open(path) as file:
            magic, *shape = struct.unpack(f">{1 + dimensions}I", file.read(head))
            wanted = int(np.prod(shape, dtype=np.uint64))
            if magic != 0x0800 + dimensions or shape[0] > _MOST or max(shape[1:], default=0) > 99:
                raise ValueError(f"its header is {magic:#06x} {shape}")
            content = file.read(wanted + 1)
        if len(content) != wanted:
            raise ValueError(f"its header says {shape}, but {len(content):,} bytes follow")
    except (OSError, EOFError, struct.error, zlib.error, ValueError) as error:
        raise ValueError(
            f"{path} must be a compressed idx file of bytes with {dimensions} dimensions, but "
            f"reading it fails: {error}. Fetch it again."
        ) from error
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)
