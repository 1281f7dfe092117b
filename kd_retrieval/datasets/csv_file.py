"""An own CSV file that says everything about each image."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_retrieval.datasets.records import (
    BOTH,
    GALLERY,
    QUERY,
    RetrievalDataset,
    Table,
    check_split,
)

COLUMNS = ("path", "label", "split", "role", "group", "id")
_ROLES = {"": BOTH, "both": BOTH, "query": QUERY, "gallery": GALLERY}
_SEVERAL = ";"


class CSVFile(RetrievalDataset):
    """Images of a CSV file with the columns ``path`` and ``label``, and maybe more.

    ``split``: train, val or test; without ``val`` rows it is the last fifth of the training
    classes by name. ``role``: query, gallery or both (the default). ``group``: images that belong
    together, such as one photo session, must lie in one split. ``id``: a whole number that names
    the image; the default is the row. Several labels of an image are separated by ``;``: then the
    item's ``labels`` is a list, for evaluation alone.

    Args:
        data_root: Folder that the paths are relative to.
        ann_file: The CSV file, below data_root or absolute.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        transforms: Configs of transforms.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If a column, a value or a group is wrong; names the line.
    """

    def __init__(
        self,
        data_root: str,
        ann_file: str,
        split: str = "trainval",
        transforms: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        check_split(split)
        path = Path(data_root) / ann_file
        rows = _read(path)
        _check_groups(path, rows)
        splits = np.array([row["split"] or "train" for row in rows])
        several = any(_SEVERAL in row["label"] for row in rows)
        table = _table(path, rows, several)
        if split == "test" or "val" in splits or several:
            wanted = ("train", "val") if split == "trainval" else (split,)
            kept = np.isin(splits, wanted)
        else:
            kept = splits == "train"
        chosen = table.select(kept)
        if split in ("train", "val") and "val" not in splits and not several:
            chosen = chosen.part(split)
        super().__init__(data_root, chosen, transforms)
        if several:
            by_path = {row["path"]: row["label"] for row in rows}
            self._take_labels([by_path[path] for path in self.paths])

    def _take_labels(self, texts: Sequence[str]) -> None:
        sets = [sorted(set(filter(None, map(str.strip, text.split(_SEVERAL))))) for text in texts]
        self.class_names = tuple(sorted({name for names in sets for name in names}))
        self.metainfo = dict(classes=self.class_names)
        place = {name: number for number, name in enumerate(self.class_names)}
        self.labels = [tuple(place[name] for name in names) for names in sets]

    def label_of(self, index: int) -> Any:
        """The class of an image, an int, or a list of ints where images have several."""
        label = self.labels[index]
        return list(label) if isinstance(label, tuple) else int(label)

    def class_of(self, index: int) -> Any:
        """The name of an image's class, or a list of names."""
        label = self.label_of(index)
        if isinstance(label, list):
            return [self.class_names[one] for one in label]
        return self.class_names[label]


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"the list {path} is missing. Set data_root and ann_file.")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        unknown = sorted(set(columns) - set(COLUMNS))
        if unknown or not {"path", "label"} <= set(columns):
            raise ValueError(
                f"{path} must have the columns path and label, and may have "
                f"{', '.join(COLUMNS[2:])}, but it has {', '.join(columns) or 'none'}."
            )
        rows = [{key: (row.get(key) or "").strip() for key in COLUMNS} for row in reader]
    for number, row in enumerate(rows, start=2):
        _check_row(f"{path}, line {number},", row)
    return rows


def _check_row(where: str, row: Mapping[str, str]) -> None:
    if not row["path"] or not row["label"]:
        raise ValueError(f"{where} must have a path and a label, but is {dict(row)}.")
    if row["split"] not in ("", "train", "val", "test"):
        raise ValueError(f"{where} must say train, val or test, but says {row['split']!r}.")
    if row["role"] not in _ROLES:
        raise ValueError(f"{where} must say query, gallery or both, but says {row['role']!r}.")
    if row["id"] and not row["id"].isdigit():
        raise ValueError(f"{where} must have a whole number as id, but has {row['id']!r}.")


def _check_groups(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    seen: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        split = row["split"] or "train"
        if row["group"] and seen.setdefault(row["group"], split) != split:
            raise ValueError(
                f"all images of a group must lie in one split, but {path}, line {number}, puts "
                f"group {row['group']!r} into {split} and an earlier line into "
                f"{seen[row['group']]}."
            )


def _table(path: Path, rows: Sequence[Mapping[str, str]], several: bool) -> Table:
    given = [bool(row["id"]) for row in rows]
    if any(given) and not all(given):
        raise ValueError(f"{path} must have an id in every line or in none.")
    ids = [int(row["id"]) for row in rows] if any(given) else range(len(rows))
    names = ["" if several else row["label"] for row in rows]
    classes, labels = np.unique(names, return_inverse=True)
    return Table(
        [row["path"] for row in rows],
        labels.reshape(-1),
        np.array(ids, dtype=np.int64),
        tuple(str(one) for one in classes),
        np.array([_ROLES[row["role"]] for row in rows]),
    )
