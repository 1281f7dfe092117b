"""Tables as text: aligned columns for a terminal, pipes for Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def format_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], align: str | None = None
) -> list[str]:
    """Align the cells of a table in columns, two spaces apart.

    Args:
        header: Names of the columns; empty for a table without a head.
        rows: Cells of each row. A short row ends with empty cells.
        align: ``"<"`` or ``">"`` for each column, as ``"<>>"``; ``None`` aligns all of them left.

    Returns:
        Lines without spaces at their ends, the header first.

    Raises:
        ValueError: If ``align`` does not name each column, or a row is longer than the header.

    Example:
        >>> for line in format_table(("name", "n"), [("student", "7"), ("all", "12")], "<>"):
        ...     print(line)
        name      n
        student   7
        all      12
    """
    lines = [list(header)] if header else []
    return ["  ".join(cells).rstrip() for cells in _padded([*lines, *rows], align)]


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], align: str | None = None
) -> list[str]:
    """Write a table in Markdown, with aligned pipes.

    Args:
        header: Names of the columns.
        rows: Cells of each row, as many as the header has.
        align: As in :func:`format_table`.

    Returns:
        Lines: header, rule, rows.

    Raises:
        ValueError: As :func:`format_table`.

    Example:
        >>> for line in markdown_table(("run", "mAP"), [("hmat", "37.1")], "<>"):
        ...     print(line)
        | run  |  mAP |
        | ---- | ---: |
        | hmat | 37.1 |
    """
    head, *body = _padded([header, *rows], align)
    sides = align or "<" * len(header)
    rule = [
        "-" * len(cell) if side == "<" else "-" * (len(cell) - 1) + ":"
        for cell, side in zip(head, sides, strict=True)
    ]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *body)]


def _padded(lines: Sequence[Sequence[str]], align: str | None) -> list[list[str]]:
    """Fill the cells of each column up to one width."""
    if not lines:
        return []
    columns = max(map(len, lines))
    sides = "<" * columns if align is None else align
    if len(sides) != columns or set(sides) - set("<>") or len(lines[0]) < columns:
        raise ValueError(
            f"a table of {columns} columns needs '<' or '>' for each of them and a first line that "
            f"has all of them, but align is {align!r} and the first line {list(lines[0])}."
        )
    full = [[*line, *[""] * (columns - len(line))] for line in lines]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    specs = [f"{side}{width}" for side, width in zip(sides, widths, strict=True)]
    return [[format(*cell) for cell in zip(line, specs, strict=True)] for line in full]
