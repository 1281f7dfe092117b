"""Folder of your own with a sub-folder for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_engine.data.image_folder import find_images
from kd_engine.data.splits import SPLITS, check_split
from kd_retrieval.datasets.base import RetrievalDataset, Table, number_classes


class LabeledFolder(RetrievalDataset):
    """Images in a folder for each class.

    Either ``data_root`` has ``train/``, ``test/`` and optionally ``val/``, each with a folder for
    each class; or it has the class folders themselves, and ``test_classes`` selects those to be
    searched; the others are to train on. Without ``val/``, ``val`` is the last fifth of the
    training classes by name. A class is the folder that holds its images, however deep. An image's
    id is its place among all images, by path.

    Images are known by their suffixes; other files are left out with a warning, hidden ones
    without.

    Args:
        data_root: The folder.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        transforms: Configs of transforms.
        test_classes: Names of classes, or how many of them, the last ones by name.

    Raises:
        FileNotFoundError: If the folder is missing.
        ValueError: If there are no images, or the classes cannot be divided.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "trainval",
        transforms: Sequence[Mapping[str, Any]] = (),
        test_classes: Sequence[str] | int | None = None,
    ) -> None:
        check_split(split)
        root = Path(data_root)
        if not root.is_dir():
            raise FileNotFoundError(f"the folder {root} is missing. Set data_root to it.")
        parts = [name for name in SPLITS if (root / name).is_dir()]
        if parts and test_classes is not None:
            raise ValueError(
                f"{root} has folders {', '.join(parts)}, so test_classes must be left out, but it "
                f"is {test_classes!r}."
            )
        paths = find_images(root)
        table = _table(root, paths, 2 if parts else 1)
        if parts:
            chosen = _of_folders(root, table, split, parts)
        else:
            chosen = _of_classes(table, split, test_classes)
        super().__init__(data_root, chosen, transforms)


def _table(root: Path, paths: list[str], levels: int) -> Table:
    if lost := [path for path in paths if path.count("/") < levels]:
        raise ValueError(
            f"every image must lie in the folder of its class, but {root / lost[0]} does not."
        )
    names = [path.rsplit("/", 1)[0].split("/", levels - 1)[-1] for path in paths]
    classes, labels = number_classes(names)
    return Table(paths, labels, np.arange(len(paths)), classes)


def _of_folders(root: Path, table: Table, split: str, parts: Sequence[str]) -> Table:
    top = np.array([path.split("/", 1)[0] for path in table.paths])
    found = sorted(set(top.tolist()) | set(parts))
    if not {"train", "test"} <= set(found) <= {"train", "val", "test"}:
        raise ValueError(
            f"{root} must have the folders train, test and maybe val, but it has "
            f"{', '.join(found)}."
        )
    if split == "test" or "val" in parts:
        wanted = ("train", "val") if split == "trainval" else (split,)
        return table.select(np.isin(top, wanted))
    return table.select(top == "train").part(split)


def _of_classes(table: Table, split: str, test_classes: Sequence[str] | int | None) -> Table:
    names = table.class_names
    if test_classes is None:
        raise ValueError(
            f"{len(names)} classes must be divided into those to train on and those to search. "
            "Make folders train/ and test/, or give test_classes: names, or how many."
        )
    if isinstance(test_classes, int):
        chosen = names[-test_classes:] if 0 < test_classes < len(names) else ()
    else:
        chosen = tuple(test_classes)
    unknown = sorted(set(chosen) - set(names))
    if unknown or not 0 < len(set(chosen)) < len(names):
        raise ValueError(
            f"test_classes must be some, not all, of the {len(names)} classes, but it is "
            f"{test_classes!r}" + (f", with unknown {unknown[:5]}." if unknown else ".")
        )
    test = np.isin(np.array(names)[table.labels], chosen)
    return table.select(test) if split == "test" else table.select(~test).part(split)
