"""CIFAR-10 and CIFAR-100 in their binary versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_cls.datasets.samples import (
    ClassificationDataset,
    DecodedImages,
    Samples,
    require_file,
    require_labels,
)
from kd_engine.data.image_lists import read_lines
from kd_engine.data.splits import check_split

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
_TRAINING, _TEST = 50_000, 10_000


class _Cifar(ClassificationDataset):
    """Dataset of records: label bytes and 3,072 pixel bytes (red, green, blue).

    The Python version is a pickle, and reading one runs whatever code it names; these files are
    bytes alone. 50,000 training and 10,000 test images of 32 x 32, the same number in each class;
    ``val`` is a tenth of each training class. All are held in memory: 154 MB to train, 31 MB to
    test, and as much again while they are read. An id is an image's place in the training files,
    in the test file 50,000 more.

    Args:
        data_root: The unpacked folder.
        split: ``train``, ``val``, ``trainval`` (all 50,000) or ``test``.
        transforms: Configs of transforms.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file has another size, or a label is out of range.
    """

    training: tuple[str, ...]
    test: str
    names: str
    classes: int
    label_bytes: int
    pickled: str  # folder of the version that is not read

    def __init__(
        self,
        data_root: str,
        split: str = "trainval",
        transforms: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        check_split(split)
        root = Path(data_root)
        self._refuse_pickles(root)
        names = [self.test] if split == "test" else list(self.training)
        records = _TEST if split == "test" else _TRAINING // len(names)
        parts = [self._read(root / name, records) for name in names]
        pixels, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        first = _TRAINING if split == "test" else 0
        samples = Samples(
            DecodedImages(pixels), labels, first + np.arange(len(labels)), self._class_names(root)
        )
        super().__init__(root, samples.part(split), transforms)

    def _read(self, path: Path, records: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Read pixels (n, 32, 32, 3) and labels (n,) of a file."""
        length = self.label_bytes + _PIXELS
        found = require_file(path).stat().st_size
        if found != records * length:
            raise ValueError(
                f"{path} must have {records:,} records of {length:,} bytes, {records * length:,} "
                f"in all, but it has {found:,}. Fetch it again."
            )
        rows = np.fromfile(path, dtype=np.uint8).reshape(records, length)
        planes = rows[:, self.label_bytes :].reshape(records, 3, _SIDE, _SIDE)
        labels = require_labels(path, rows[:, self.label_bytes - 1], self.classes)
        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels

    def _class_names(self, root: Path) -> tuple[str, ...]:
        path = require_file(root / self.names)
        names = " ".join(read_lines(path)).split()
        if len(set(names)) != self.classes:
            raise ValueError(
                f"{path} must name {self.classes} classes, but it names {len(set(names))}."
            )
        return tuple(names)

    def _refuse_pickles(self, root: Path) -> None:
        """Refuse the Python version, recognized by its folder or its files."""
        if (root / self.test).is_file():
            return
        batches = "data_batch_1" if self.classes == 10 else "train"
        if (root / batches).is_file() or root.name == self.pickled:
            raise ValueError(
                f"{root} holds the Python version of {type(self).__name__}, whose pickles are not "
                "read, as they may run code. Take the binary version, from the same page: "
                "kdkit fetch cifar10, or cifar100."
            )


class CIFAR10(_Cifar):
    """CIFAR-10, the folder ``cifar-10-batches-bin``: 5,000 + 1,000 images of each of 10 classes.

    Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
    https://www.cs.toronto.edu/~kriz/cifar.html. Takes ``data_root``, ``split`` and ``transforms``.
    """

    training = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
    test = "test_batch.bin"
    names = "batches.meta.txt"
    classes = 10
    label_bytes = 1
    pickled = "cifar-10-batches-py"


class CIFAR100(_Cifar):
    """CIFAR-100, the folder ``cifar-100-binary``: 500 + 100 images of each of 100 classes.

    Krizhevsky, as for CIFAR-10. Labels are the fine ones; the coarse ones are not used. Takes
    ``data_root``, ``split`` and ``transforms``.
    """

    training = ("train.bin",)
    test = "test.bin"
    names = "fine_label_names.txt"
    classes = 100
    label_bytes = 2
    pickled = "cifar-100-python"
