"""Progress of a download: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from kd_engine.progress import bars

_INTERVAL = 30.0  # seconds between two lines


class DownloadProgress:
    """Progress of a download: position, speed and remaining time; a context manager.

    Args:
        name: What is being fetched.
        start: Bytes that were there already.
        total: Bytes of the whole, or None if unknown.
    """

    def __init__(self, name: str, start: int, total: int | None) -> None:
        self.name, self.start, self.total = name, start, total
        self.began = time.monotonic()
        self.next = self.began + _INTERVAL
        self.position = start
        self.bars = bars(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self.task = self.bars.add_task(name, total=total, completed=start)

    def __enter__(self) -> DownloadProgress:
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()
        if self.bars.disable and error is None:
            self._print()

    def show(self, position: int) -> None:
        """Move the bar, or print a line if it is time for one.

        Args:
            position: Bytes that are there now.
        """
        self.position = position
        self.bars.update(self.task, completed=position)
        if self.bars.disable and time.monotonic() >= self.next:
            self.next = time.monotonic() + _INTERVAL
            self._print()

    def line(self, position: int) -> str:
        """Return the line for a position.

        Args:
            position: Bytes that are there now.

        Returns:
            One line of text.
        """
        speed = (position - self.start) / max(time.monotonic() - self.began, 1e-6)
        text = f"{self.name}: {readable_size(position)}"
        if self.total:
            text += f" of {readable_size(self.total)} ({100 * position / self.total:.0f} %)"
        text += f", {readable_size(speed)}/s"
        if self.total and speed > 0:
            minutes, seconds = divmod(round((self.total - position) / speed), 60)
            text += f", ETA {minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
        return text

    def _print(self) -> None:
        print(self.line(self.position), file=sys.stderr, flush=True)


def readable_size(size: float) -> str:
    """Write a number of bytes for people.

    Args:
        size: Number of bytes.

    Returns:
        Such as ``12.3 MB``.
    """
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"
