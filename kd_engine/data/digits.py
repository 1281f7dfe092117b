"""Built-in handwritten digits: the 1,797 of 8x8 pixels that scikit-learn carries.

They are the test part of the UCI "Optical Recognition of Handwritten Digits" set, so nothing is
downloaded.
"""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kd_core.packages import missing_package

DIGIT_CLASSES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
SIZE = 32  # pixels of an enlarged digit
_FILE = "datasets/data/digits.csv.gz"  # in scikit-learn's package


def source_digits() -> tuple[NDArray[Any], NDArray[Any]]:
    """Return scikit-learn's digits: ink from 0 to 1, float32 (1797, 8, 8), and labels (1797,).

    Read from the file that its ``load_digits`` reads: importing scikit-learn takes longer than all
    else that a classifier's training begins with, except torch.

    Raises:
        ImportError: If scikit-learn is not installed.
    """
    spec = find_spec("sklearn")
    if spec is None or not spec.origin:
        raise missing_package("the set of built-in digits", "sklearn")
    path = Path(spec.origin).parent / _FILE
    if not path.is_file():  # a scikit-learn that keeps it elsewhere
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        return (images.reshape(-1, 8, 8) / 16).astype(np.float32), labels.astype(np.int64)
    with gzip.open(path, "rt", encoding="ascii") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.float32)
    return table[:, :-1].reshape(-1, 8, 8) / 16, table[:, -1].astype(np.int64)


def enlarged(ink: NDArray[Any]) -> Image.Image:
    """Enlarge a digit (8, 8) of ink from 0 to 1 to a gray image of 32 x 32 pixels."""
    small = Image.fromarray((ink * 255).round().astype(np.uint8))
    return small.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
