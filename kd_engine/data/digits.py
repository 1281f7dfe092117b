"""Built-in handwritten digits: the 1,797 of 8x8 pixels that scikit-learn carries.

They are the test part of the UCI "Optical Recognition of Handwritten Digits" set, so nothing is
downloaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kd_core.packages import missing_package

DIGIT_CLASSES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
SIZE = 32  # pixels of an enlarged digit


def source_digits() -> tuple[NDArray[Any], NDArray[Any]]:
    """Return scikit-learn's digits: ink from 0 to 1, float32 (1797, 8, 8), and labels (1797,)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing_package("the set of built-in digits", "sklearn") from error
    images, labels = load_digits(return_X_y=True)
    return (images.reshape(-1, 8, 8) / 16).astype(np.float32), labels.astype(np.int64)


def enlarged(ink: NDArray[Any]) -> Image.Image:
    """Enlarge a digit (8, 8) of ink from 0 to 1 to a gray image of 32 x 32 pixels."""
    small = Image.fromarray((ink * 255).round().astype(np.uint8))
    return small.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
