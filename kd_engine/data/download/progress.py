"""Tells how far a long transfer is."""

from __future__ import annotations

import sys
import time


class DownloadProgress:
    """Prints how far a download is, how fast, and when it will end.

    Args:
        name: What is being fetched.
        start: Bytes that were there already.
        total: Bytes of the whole, or None if unknown.
    """

    def __init__(self, name: str, start: int, total: int | None) -> None:
        self.name, self.start, self.total = name, start, total
        self.began = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.interval = 0.5 if self.terminal else 30.0
        self.next = self.began + self.interval

    def show(self, position: int) -> None:
        """Print a line if it is time for one.

        Args:
            position: Bytes that are there now.
        """
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + self.interval
            end = "\r" if self.terminal else "\n"
            print(self.line(position), end=end, file=sys.stderr, flush=True)

    def close(self, position: int) -> None:
        """Print the last line.

        Args:
            position: Bytes that are there at the end.
        """
        print(self.line(position), file=sys.stderr, flush=True)

    def line(self, position: int) -> str:
        """Say how far it is.

        Args:
            position: Bytes that are there now.

        Returns:
            One line of text.
        """
        speed = (position - self.start) / max(time.monotonic() - self.began, 1e-6)
        text = f"{self.name}: {amount(position)}"
        if self.total:
            text += f" of {amount(self.total)} ({100 * position / self.total:.0f} %)"
        text += f", {amount(speed)}/s"
        if self.total and speed > 0:
            minutes, seconds = divmod(round((self.total - position) / speed), 60)
            text += f", ETA {minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
        return text + "    "


def amount(size: float) -> str:
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
