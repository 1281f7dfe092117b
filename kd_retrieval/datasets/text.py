"""Read the lists of data sets."""

from __future__ import annotations

from pathlib import Path


def read_rows(path: Path, fields: int, skip: int = 0) -> list[list[str]]:
    """Read a text file of rows that are separated by blanks; empty lines are left out.

    Args:
        path: The file.
        fields: Fields of each row; the last one may contain blanks.
        skip: Lines of a heading.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a row has fewer fields; names the line.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing. docs/retrieval_data.md shows the layout and where to get the data."
        )
    rows = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines[skip:], start=skip + 1):
        if not line.strip():
            continue
        row = line.split(maxsplit=fields - 1)
        if len(row) != fields:
            raise ValueError(f"{path}, line {number}, must have {fields} fields, but is {line!r}.")
        rows.append([*row[:-1], row[-1].strip()])
    return rows
