"""Built-in data: scikit-learn's handwritten digits, some to train on, others to search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from kd_engine.data.digits import DIGIT_CLASSES, enlarged, source_digits
from kd_engine.data.splits import check_split
from kd_retrieval.datasets.base import RetrievalDataset, Table

_TRAINING = 6  # digits 0 to 5


class BuiltInDigits(RetrievalDataset):
    """Digits 0 to 5 to train on (1,083 images), 6 to 9 to search (714); 32 x 32, gray.

    They are the 1,797 images that scikit-learn carries (the test part of the UCI "Optical
    Recognition of Handwritten Digits" set), enlarged; nothing is downloaded.

    Args:
        split: ``train`` (digits 0 to 3), ``val`` (4 and 5), ``trainval`` or ``test``.
        transforms: Configs of transforms.
    """

    def __init__(
        self, split: str = "trainval", transforms: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        check_split(split)
        images, labels = source_digits()
        table = Table(
            [f"{DIGIT_CLASSES[label]}/{row:04}" for row, label in enumerate(labels)],
            labels.astype(np.int64),
            np.arange(len(labels)),
            DIGIT_CLASSES,
        )
        training = table.select(labels < _TRAINING)
        chosen = table.select(labels >= _TRAINING) if split == "test" else training.part(split)
        self._images = images[chosen.ids]  # (n, 8, 8)
        super().__init__(".", chosen, transforms)

    def read(self, index: int) -> Image.Image:
        """Enlarge an image, as RGB of PIL."""
        return enlarged(self._images[index]).convert("RGB")

    def size_of(self, index: int) -> int:
        """Size of an image in bytes."""
        return int(self._images[index].size)
