"""Progress bars: only on a terminal, so that a pipe or a log file holds none."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from kd_engine.terminal import set_status


def bars(*columns: ProgressColumn, stderr: bool = True) -> Progress:
    """Return bars that are shown if their stream is a terminal; a context manager.

    Args:
        columns: Columns of each bar's line.
        stderr: Use the error output, so that the output can be piped.
    """
    stream = sys.stderr if stderr else sys.stdout
    return Progress(
        *columns,
        console=Console(file=stream),
        disable=not stream.isatty(),
        redirect_stdout=False,  # what is printed may go elsewhere than the bars
        redirect_stderr=False,
    )


@contextlib.contextmanager
def progress_bar(doing: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show one bar while the block runs; without a terminal use :func:`set_status`.

    Args:
        doing: Text before it, such as "embedding".
        total: Its end.
        unit: Unit of the count, such as "images".

    Yields:
        A function to call with the number that is done.
    """
    shown = bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    with shown:
        task = shown.add_task(doing, total=total)

        def line() -> str:
            return f"{doing}: {shown.tasks[0].completed:,.0f} of {total:,} {unit}"

        set_status(line if shown.disable else "")
        yield lambda done: shown.update(task, completed=done)
