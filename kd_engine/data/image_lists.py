"""Text files that list the images of a dataset: reading and checking them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_INTEGER_DIGITS = 18  # more do not fit into int64


@dataclass
class ListRows:
    """The rows of a list.

    Attributes:
        path: The file.
        lines: Line of each row in the file, from 1.
        columns: One list of texts for each field.
    """

    path: Path
    lines: list[int]
    columns: list[list[str]]

    def where(self, row: int) -> str:
        """Name file and line of a row."""
        return f"{self.path}, line {self.lines[row]},"

    def integers(self, column: int) -> NDArray[np.int64]:
        """Return a column of whole numbers as int64.

        Raises:
            ValueError: If one is none; names the line.
        """
        texts = self.columns[column]
        for row, text in enumerate(texts):
            if not is_integer(text):
                raise ValueError(f"{self.where(row)} must have a whole number, but has {text!r}.")
        return np.array([int(text) for text in texts], dtype=np.int64)

    def paths(self, column: int, root: str | Path, absolute: bool = False) -> list[str]:
        """Return a column of normalized paths; see :func:`below`.

        Args:
            column: Which one.
            root: Folder that the paths are relative to.
            absolute: Whether absolute paths may lie anywhere.

        Raises:
            ValueError: If one does not lie below the folder; names the line.
        """
        found = []
        for row, text in enumerate(self.columns[column]):
            try:
                found.append(below(text, root, absolute))
            except ValueError as error:
                raise ValueError(f"{self.where(row)} {error}") from error
        return found


def below(path: str, root: str | Path, absolute: bool = False) -> str:
    """Normalize a path of a list: ``./d//0.png`` and ``d/0.png`` are the same image.

    Args:
        path: Relative to the data folder or absolute, and in both cases below it.
        root: The data folder.
        absolute: Whether an absolute path may lie anywhere else, too.

    Returns:
        The path relative to the data folder, with forward slashes and without ``.`` and ``..``; an
        absolute one if it lies elsewhere. Links are not followed: one inside the folder may lead
        anywhere.

    Raises:
        ValueError: If it does not lie below the folder.
    """
    whole = _inside(path, root) if os.path.isabs(path) else posixpath.normpath(path)
    if absolute and os.path.isabs(path) and whole.startswith("../"):
        return os.path.normpath(path)
    if whole in (".", "..") or whole.startswith("../") or "\0" in path:
        raise ValueError(
            f"must have a path below the data folder {os.path.abspath(root)}, but has {path!r}. "
            "Take a folder that holds all images as data_root, and write paths relative to it."
        )
    return whole


def _inside(path: str, root: str | Path) -> str:
    """Return an absolute path relative to a folder, or to where a link of that name leads."""
    for place in (os.path.abspath(root), os.path.realpath(root)):
        inside = os.path.relpath(path, place).replace(os.sep, "/")
        if not inside.startswith("../"):
            break
    return inside


def is_integer(text: str) -> bool:
    """Return whether a text is a whole number, zero or more, that fits into int64."""
    return text.isdecimal() and len(text) <= _INTEGER_DIGITS


def read_rows(
    path: Path, fields: str, heading: Sequence[str] = (), path_first: bool = False
) -> ListRows:
    """Read a text file of rows that are separated by blanks; empty lines are left out.

    Args:
        path: The file, in UTF-8.
        fields: Names of the fields of a row, for messages. One of them, the path, may contain
            blanks.
        heading: Beginnings of the lines above the rows.
        path_first: The path is the first field, not the last.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not UTF-8, has another heading, or a row has fewer fields; names the
            line.
    """
    names = fields.split()
    rows = ListRows(path, [], [[] for _ in names])
    for number, line in enumerate(read_lines(path), start=1):
        if number <= len(heading):
            if not line.startswith(heading[number - 1]):
                raise ValueError(
                    f"{path}, line {number}, must begin with {heading[number - 1]!r}, but is "
                    f"{line!r}."
                )
        elif line := line.strip():
            row = (line.rsplit if path_first else line.split)(maxsplit=len(names) - 1)
            if len(row) != len(names):
                raise ValueError(f"{path}, line {number}, must be {fields!r}, but is {line!r}.")
            rows.lines.append(number)
            for column, text in zip(rows.columns, row, strict=True):
                column.append(text)
    return rows


def read_lines(path: Path) -> Iterator[str]:
    """Read the lines of a text file in UTF-8, one by one, whatever ends them.

    A byte order mark at the beginning is not part of the text.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not UTF-8, or has NUL characters (as UTF-16 has) or byte order marks
            within.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing. 'kdkit fetch --help' says where to get the data and shows the "
            "layouts of what is fetched by hand."
        )
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if "\0" in line or "\ufeff" in line:
                    what = "a NUL character" if "\0" in line else "a byte order mark within"
                    raise ValueError(
                        f"{path}, line {number}, must be plain text, but has {what}. Save the file "
                        "as UTF-8."
                    )
                yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8, but is not: {error}. Save it as UTF-8.") from error


def first_repeat(values: Sequence[Any]) -> tuple[int, int] | None:
    """Return the position of the first repeated value, and of its earlier occurrence."""
    if len(set(values)) == len(values):
        return None
    seen: dict[Any, int] = {}
    for place, value in enumerate(values):
        if seen.setdefault(value, place) != place:
            return seen[value], place
    return None
