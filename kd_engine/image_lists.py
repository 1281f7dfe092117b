"""Read the text files that list the images of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_INTEGER_DIGITS = 18  # more do not fit into int64


@dataclass
class Rows:
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


def is_integer(text: str) -> bool:
    """Whether a text is a whole number, zero or more, that fits into int64."""
    return text.isdecimal() and len(text) <= _INTEGER_DIGITS


def read_rows(
    path: Path, fields: str, heading: Sequence[str] = (), path_first: bool = False
) -> Rows:
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
    rows = Rows(path, [], [[] for _ in names])
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

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing. docs/retrieval_data.md and docs/classification_data.md show the "
            "layouts and where to get the data."
        )
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8, but is not: {error}. Save it as UTF-8.") from error


def first_repeat(values: Sequence[Any]) -> tuple[int, int] | None:
    """Return the places of the first value that came before, and of where it came before."""
    if len(set(values)) == len(values):
        return None
    seen: dict[Any, int] = {}
    for place, value in enumerate(values):
        if seen.setdefault(value, place) != place:
            return seen[value], place
    return None
