"""CSV file of your own that describes each image: path, label, split, role, group, id."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_engine.data.image_lists import ListRows, is_integer, read_lines
from kd_engine.data.splits import check_split
from kd_retrieval.datasets.base import (
    BOTH,
    GALLERY,
    QUERY,
    RetrievalDataset,
    Table,
    number_classes,
    require_unique,
)

COLUMNS = ("path", "label", "split", "role", "group", "id")
_ROLES = {"": BOTH, "both": BOTH, "query": QUERY, "gallery": GALLERY}
_SPLITS = ("train", "val", "test")
_SEVERAL = ";"
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")  # all but the tab


class CSVFile(RetrievalDataset):
    """Images of a CSV file with the columns ``path`` and ``label``, and optional ones.

    ``split``: train (the default), val or test; without ``val`` rows it is the last fifth of the
    training classes by name. ``role``: query, gallery or both (the default). ``group``: images
    that belong together, such as one photo session, must lie in one split. ``id``: a whole number
    that names the image; the default is the place of its row. Several labels of an image are
    separated by ``;``: then the item's ``labels`` of that split are lists, for evaluation alone.

    A relative path lies below data_root, an absolute one anywhere; ``./a.png`` is ``a.png``. No
    field continues on the next line, and no label has a control character.

    Args:
        data_root: Folder that the paths are relative to.
        ann_file: The CSV file, below data_root or absolute, in UTF-8 and with commas.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        transforms: Configs of transforms.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If a column, a value or a group is wrong, a relative path leaves data_root, or
            an image or id comes twice; names the line.
    """

    def __init__(
        self,
        data_root: str,
        ann_file: str,
        split: str = "trainval",
        transforms: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        check_split(split)
        rows = _read(Path(data_root) / ann_file)
        _, texts, splits, roles = rows.columns[:4]
        paths = rows.paths(0, data_root, absolute=True)
        table = Table(
            paths,
            np.zeros(len(paths), dtype=np.int64),
            _ids(rows),
            ("",),
            np.array([_ROLES[role] for role in roles], dtype=np.int64),
        )
        require_unique(table, rows.path)
        kept, derived = _kept(splits, split)
        chosen = table.select(kept)
        labels = [texts[row] for row in kept]
        several = any(_SEVERAL in text for text in labels)
        if not several:
            chosen.class_names, chosen.labels = number_classes(labels)
        if derived and several:
            raise ValueError(
                f"{rows.path} must have rows of split val, since a class-disjoint part cannot be "
                "taken where images have several labels. Use split='trainval' otherwise."
            )
        super().__init__(data_root, chosen.part(split) if derived else chosen, transforms)
        if several:
            self._take_labels(labels)

    def _take_labels(self, texts: Sequence[str]) -> None:
        sets = [sorted(set(filter(None, map(str.strip, text.split(_SEVERAL))))) for text in texts]
        self.class_names = tuple(sorted({name for names in sets for name in names}))
        self.metainfo = dict(classes=self.class_names)
        place = {name: number for number, name in enumerate(self.class_names)}
        self.labels = [tuple(place[name] for name in names) for names in sets]

    def label_of(self, index: int) -> Any:
        """Return the class of an image, an int, or a list of ints where images have several."""
        label = self.labels[index]
        return list(label) if isinstance(label, tuple) else int(label)

    def class_of(self, index: int) -> Any:
        """Return the name of an image's class, or a list of names."""
        label = self.label_of(index)
        if isinstance(label, list):
            return [self.class_names[one] for one in label]
        return self.class_names[label]


def _kept(splits: Sequence[str], split: str) -> tuple[NDArray[Any], bool]:
    """Return the rows to take, and whether train or val is still to be taken out of them."""
    derived = split in ("train", "val") and "val" not in splits
    wanted = {"train": "train", "val": "val", "trainval": ("train", "val"), "test": "test"}[split]
    return np.flatnonzero(np.isin(splits, "train" if derived else wanted)), derived


def _read(path: Path) -> ListRows:
    """Read a CSV file as one list of texts for each of ``COLUMNS``."""
    records = _records(path)
    names = next(records, (1, []))[1]
    unknown = sorted(set(names) - set(COLUMNS))
    if unknown or not {"path", "label"} <= set(names) or len(set(names)) < len(names):
        raise ValueError(
            f"{path} must have the columns path and label, and may have "
            f"{', '.join(COLUMNS[2:])}, but it has {', '.join(names) or 'none'}."
        )
    lines: list[int] = []
    once: dict[str, str] = {}  # equal labels, splits and groups are held once
    columns: list[list[str]] = [[] for _ in names]
    for line, row in records:
        if not row:
            continue
        if len(row) != len(names):
            raise ValueError(
                f"{path}, line {line}, must have {len(names)} fields, but has {len(row)}."
            )
        lines.append(line)
        for column, name, text in zip(columns, names, row, strict=True):
            column.append(text if name == "path" else once.setdefault(text, text))
    by_name = dict(zip(names, columns, strict=True))
    rows = ListRows(path, lines, [by_name.get(name) or [""] * len(lines) for name in COLUMNS])
    rows.columns[2] = [text or "train" for text in rows.columns[2]]
    _check(rows)
    return rows


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Read lines of fields, without blanks around them, and number the lines from 1.

    csv joins the lines of a field in quotes, so that a class would have another name.
    """
    reader = csv.reader(read_lines(path), strict=True)
    line = 1
    try:
        for row in reader:
            if reader.line_num > line:
                raise ValueError(
                    f"{path}, line {line}, must end its fields, but a field in quotes runs on to "
                    f"line {reader.line_num}. Close the quotes, or take the line break out."
                )
            yield line, [text.strip() for text in row]
            line += 1
    except csv.Error as error:
        raise ValueError(f"{path}, line {line}, is not CSV: {error}.") from error


def _check(rows: ListRows) -> None:
    paths, labels, splits, roles, groups, ids = rows.columns
    _require(rows, paths, bool, "have a path")
    _require(rows, labels, lambda text: text.strip(f"{_SEVERAL} ") != "", "have a label")
    for texts in (labels, groups):
        _require(rows, texts, lambda text: not _CONTROL.search(text), "have no control character")
    _require(rows, splits, _SPLITS.__contains__, f"say {', '.join(_SPLITS)} or nothing")
    _require(rows, roles, _ROLES.__contains__, "say query, gallery, both or nothing")
    if any(ids):
        _require(rows, ids, is_integer, "have a whole number as id, as other lines do")
    seen: dict[str, str] = {}
    for row, (group, split) in enumerate(zip(groups, splits, strict=True)):
        if group and seen.setdefault(group, split) != split:
            raise ValueError(
                f"all images of a group must lie in one split, but {rows.where(row)} puts group "
                f"{group!r} into {split} and an earlier line into {seen[group]}."
            )


def _require(
    rows: ListRows, texts: Collection[str], fits: Callable[[str], bool], rule: str
) -> None:
    wrong = {text for text in set(texts) if not fits(text)}
    for row, text in enumerate(texts):
        if wrong and text in wrong:
            raise ValueError(f"{rows.where(row)} must {rule}, but has {text!r}.")


def _ids(rows: ListRows) -> NDArray[np.int64]:
    return rows.integers(5) if any(rows.columns[5]) else np.arange(len(rows.lines))
