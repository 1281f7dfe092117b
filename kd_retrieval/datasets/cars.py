"""Cars196 in its native layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_engine.data.image_lists import below
from kd_engine.data.matlab_file import read_matlab
from kd_engine.data.splits import check_split
from kd_retrieval.datasets.base import RetrievalDataset, Table, require_counts, require_unique

COUNTS = {"trainval": (8054, 98), "test": (8131, 98)}  # images, classes
_LIST = "cars_annos.mat"
_TEST_LIST = "cars_test_annos_withlabels.mat"


class Cars196(RetrievalDataset):
    """Cars: classes 1 to 98 to train on (8,054 images), 99 to 196 to search (8,131).

    Krause, Stark, Deng and Fei-Fei, "3D Object Representations for Fine-Grained Categorization",
    2013. Its own train/test split is of images and is not used. ``val`` is the last 19 of the
    training classes.

    Args:
        data_root: Folder with ``cars_annos.mat`` and ``car_ims/``; or with ``devkit/`` (its
            ``cars_meta.mat`` and ``cars_train_annos.mat``), ``cars_test_annos_withlabels.mat``,
            ``cars_train/`` and ``cars_test/``. They hold the same images under other names.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        transforms: Configs of transforms.
        check_counts: Require the published numbers.

    Raises:
        FileNotFoundError: If an annotation file is missing.
        ValueError: If one cannot be read, an image comes twice, or the counts are others.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "trainval",
        transforms: Sequence[Mapping[str, Any]] = (),
        check_counts: bool = True,
    ) -> None:
        check_split(split)
        root = Path(data_root)
        has_devkit = (root / "devkit").is_dir() and not (root / _LIST).is_file()
        table = _of_devkit(root) if has_devkit else _of_one_list(root)
        require_unique(table, root)
        chosen = table.half(split)
        if check_counts:
            require_counts("Cars196", chosen, split, COUNTS)
        super().__init__(data_root, chosen.part(split), transforms)


def _of_one_list(root: Path) -> Table:
    names, paths, classes = _load(
        root / _LIST, "class_names", "annotations.relative_im_path", "annotations.class"
    )
    return _table(root / _LIST, _below(root / _LIST, root, paths), classes, names)


def _of_devkit(root: Path) -> Table:
    test = next((p for p in (root / _TEST_LIST, root / "devkit" / _TEST_LIST) if p.is_file()), None)
    paths, numbers = [], []
    for path, folder in (
        (root / "devkit" / "cars_train_annos.mat", "cars_train"),
        (test or root / _TEST_LIST, "cars_test"),
    ):
        files, classes = _load(path, "annotations.fname", "annotations.class")
        paths += [f"{folder}/{name}" for name in _below(path, root / folder, files)]
        numbers += list(classes)
    meta = root / "devkit" / "cars_meta.mat"
    return _table(meta, paths, numbers, _load(meta, "class_names")[0])


def _table(path: Path, paths: list[str], classes: Sequence[Any], names: Sequence[Any]) -> Table:
    try:
        labels = np.array([int(number) - 1 for number in classes], dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"classes of {path} must be whole numbers, but: {error}.") from error
    if len(labels) and not (0 <= labels.min() and labels.max() < len(names)):
        raise ValueError(
            f"{path} names {len(names)} classes, so every class must be 1 to {len(names)}, but "
            f"they are {labels.min() + 1} to {labels.max() + 1}."
        )
    ids = np.arange(1, len(paths) + 1)
    return Table(paths, labels, ids, tuple(str(name) for name in names))


def _below(path: Path, folder: Path, names: Sequence[Any]) -> list[str]:
    try:
        return [below(str(name), folder) for name in names]
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error


def _load(path: Path, *names: str) -> list[list[Any]]:
    """Read variables of a MATLAB file."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing. 'kdkit fetch cars' gets it; its --help shows the layouts."
        )
    return [list(one) for one in read_matlab(path, names, squeeze=True)]
