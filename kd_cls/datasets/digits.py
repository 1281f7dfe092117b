"""Built-in data: scikit-learn's handwritten digits, divided within each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kd_cls.datasets.samples import ClassificationDataset, DecodedImages, Samples
from kd_engine.data.digits import DIGIT_CLASSES, enlarged, source_digits
from kd_engine.data.splits import rows_of_split


class BuiltInDigits(ClassificationDataset):
    """1,797 digits of 10 classes, enlarged to 32 x 32: 1,438 to train on, 359 to test.

    They are the images that scikit-learn carries (the test part of the UCI "Optical Recognition
    of Handwritten Digits" set); nothing is downloaded. Each class is divided 60 : 20 : 20 into
    train, val and test by :func:`kd_engine.data.splits.split_inside_classes` with seed 0. All are
    held in memory: 1.8 MB. An id is an image's row in scikit-learn's ``load_digits``.

    Args:
        split: ``train``, ``val``, ``trainval`` or ``test``.
        transforms: Configs of transforms.
    """

    def __init__(
        self, split: str = "trainval", transforms: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        images, labels = source_digits()
        rows = rows_of_split(labels, split)
        pixels = np.stack([np.asarray(enlarged(images[row])) for row in rows])
        samples = Samples(DecodedImages(pixels), labels[rows], rows, DIGIT_CLASSES)
        super().__init__("the built-in digits", samples, transforms)
