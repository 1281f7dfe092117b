"""Street View House Numbers, the cropped digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_cls.datasets.samples import (
    ClassificationDataset,
    DecodedImages,
    Samples,
    require_count,
    require_file,
    require_labels,
)
from kd_engine.data.digits import DIGIT_CLASSES
from kd_engine.data.matlab_file import read_matlab
from kd_engine.data.splits import check_split

COUNTS = {"train": 73_257, "test": 26_032}


class SVHN(ClassificationDataset):
    """Digits of house numbers, 32 x 32: 73,257 to train on, 26,032 to test.

    Netzer, Wang, Coates, Bissacco, Wu and Ng, "Reading Digits in Natural Images with Unsupervised
    Feature Learning", NIPS workshop 2011, http://ufldl.stanford.edu/housenumbers. Label 10 of the
    files is the digit 0. ``val`` is a tenth of each training class; the extra set is not used.
    All images are held in memory: 225 MB to train, 80 MB to test, and as much again while they
    are read. An id is an image's place in its file, in the test file 73,257 more.

    Args:
        data_root: Folder with ``train_32x32.mat`` and ``test_32x32.mat``.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        transforms: Configs of transforms.
        check_counts: Require the published numbers.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it cannot be read, or the number of images is another.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "trainval",
        transforms: Sequence[Mapping[str, Any]] = (),
        check_counts: bool = True,
    ) -> None:
        check_split(split)
        part = "test" if split == "test" else "train"
        path = require_file(Path(data_root) / f"{part}_32x32.mat")
        pixels, labels = _read(path)
        if check_counts:
            require_count(str(path), len(labels), COUNTS[part])
        first = COUNTS["train"] if part == "test" else 0
        samples = Samples(
            DecodedImages(np.ascontiguousarray(pixels.transpose(3, 0, 1, 2))),
            require_labels(path, labels % 10, len(DIGIT_CLASSES)),
            first + np.arange(len(labels)),
            DIGIT_CLASSES,
        )
        super().__init__(data_root, samples.part(split), transforms)


def _read(path: Path) -> tuple[Any, Any]:
    """Read pixels uint8 (32, 32, 3, n) and labels 1 to 10 (n,)."""
    pixels, labels = read_matlab(path, ("X", "y"))
    labels = labels.reshape(-1)
    fits = pixels.dtype == np.uint8 and pixels.shape == (32, 32, 3, len(labels))
    if not fits or len(labels) == 0 or labels.min() < 1 or labels.max() > 10:
        raise ValueError(
            f"{path} must have X uint8 (32, 32, 3, n) and y (n, 1) from 1 to 10, but X is "
            f"{pixels.dtype} {pixels.shape} and y has {len(labels)} labels. Fetch it again."
        )
    return pixels, labels.astype(np.int64)
