"""Warnings among the lines of a data check: how they are written, counted and shown."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from mmengine.dist import is_main_process

_MARK = "warning: "


def warning_line(text: str) -> str:
    """Mark a text as a warning among other lines of ``check_data``."""
    return f"  {_MARK}{text}"


def warnings_among(lines: Iterable[str]) -> list[str]:
    """Return the warnings of a data check, without their indent.

    Args:
        lines: As the function ``check_data`` of a task returns them.

    Example:
        >>> warnings_among(["a.json", "  4 images", warning_line("3 boxes are odd")])
        ['warning: 3 boxes are odd']
    """
    return [line.strip() for line in lines if line.lstrip().startswith(_MARK)]


def show_warnings(lines: Iterable[str]) -> None:
    """Print the warnings of a data check to the error output, once in a distributed run.

    Args:
        lines: As the function ``check_data`` of a task returns them.
    """
    if is_main_process():
        for line in warnings_among(lines):
            print(line, file=sys.stderr)
