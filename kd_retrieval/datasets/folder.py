"""An own folder with a sub-folder for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_retrieval.datasets.records import SPLITS, RetrievalDataset, Table, check_split

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")


class LabelledFolder(RetrievalDataset):
    """Images in a folder for each class.

    Either ``data_root`` has ``train/``, ``test/`` and maybe ``val/``, each with a folder for each
    class; or it has the class folders themselves, and ``test_classes`` says which of them are to
    be searched; the others are to train on. Without ``val/``, ``val`` is the last fifth of the
    training classes by name. An image's id is its place among all files, by name.

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
        paths, levels = _find(root), 2 if parts else 1
        if parts and test_classes is not None:
            raise ValueError(
                f"{root} has folders {', '.join(parts)}, so test_classes must be left out, but it "
                f"is {test_classes!r}."
            )
        if lost := [path for path in paths if path.count("/") < levels]:
            raise ValueError(
                f"every image must lie in the folder of its class, but {root / lost[0]} does not."
            )
        classes, labels = np.unique(
            ["/".join(path.split("/")[levels - 1 : -1]) for path in paths], return_inverse=True
        )
        table = Table(
            paths, labels.reshape(-1), np.arange(len(paths)), tuple(str(one) for one in classes)
        )
        if parts:
            chosen = _of_folders(table, split, parts)
        else:
            chosen = _of_classes(table, split, test_classes)
        super().__init__(data_root, chosen, transforms)


def _find(root: Path) -> list[str]:
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(
            f"{root} has no image ({', '.join(SUFFIXES)}). It must have a folder for each class."
        )
    return [path.relative_to(root).as_posix() for path in files]


def _of_folders(table: Table, split: str, parts: Sequence[str]) -> Table:
    top = np.array([path.split("/")[0] for path in table.paths])
    if "trainval" in parts or {"train", "test"} - set(parts):
        raise ValueError(
            f"the folders must be train, test and maybe val, but they are {', '.join(parts)}."
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
    chosen = names[-test_classes:] if isinstance(test_classes, int) else tuple(test_classes)
    unknown = sorted(set(chosen) - set(names))
    if unknown or not 0 < len(set(chosen)) < len(names):
        raise ValueError(
            f"test_classes must be some, not all, of the {len(names)} classes, but it is "
            f"{test_classes!r}" + (f", with unknown {unknown[:5]}." if unknown else ".")
        )
    test = np.isin(np.array(names)[table.labels], chosen)
    return table.select(test) if split == "test" else table.select(~test).part(split)
