"""Sections of a report: each ends with ok or with what is wrong, and the next one follows."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator

from kd_engine.errors import explain


class Sections:
    """Prints sections and remembers which of them failed.

    Example:
        >>> sections = Sections()
        >>> with sections.section("numbers"):
        ...     raise ValueError("1 must be 2.")
        == numbers
        wrong: 1 must be 2.
        >>> sections.failed
        ['numbers']
    """

    def __init__(self) -> None:
        self.failed: list[str] = []

    @contextlib.contextmanager
    def section(self, title: str) -> Iterator[None]:
        """Print a title, then what the block prints, then ok or what is wrong.

        Every error is shown as a sentence; ``KD_TRACEBACK=1`` shows where it arose.

        Args:
            title: Name of the section.
        """
        print(f"== {title}")
        try:
            yield
        except Exception as error:  # whatever the error, the other sections are still worth reading
            if os.environ.get("KD_TRACEBACK"):
                traceback.print_exc()
            print(f"wrong: {explain(error)}")
            self.failed.append(title)
        else:
            print("ok")

    def can(self, title: str, *needs: str) -> bool:
        """Return whether the sections that this one needs are ok; print a skip if not."""
        broken = [name for name in needs if name in self.failed]
        if broken:
            print(f"== {title}\nskipped: first fix {' and '.join(broken)}")
        return not broken
